"""What is not as it was when its replacement was written is left alone, and told."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest

from zenwebserver.worker.zodb.overrides import Method, Override, put_in_place


def doubled(original: Method) -> Method:
    return lambda self, value: 2 * original(self, value)


def override(owner: type, *, name: str = "counted", parameters: str = "self value", uses: str = "known") -> Override:
    return Override(owner, name, tuple(parameters.split()), frozenset(uses.split()), doubled)


@pytest.fixture
def owner() -> Any:
    class Owner:
        known = 1

        def counted(self, value: int) -> int:
            return self.known + value

    return Owner


def test_a_method_is_replaced_once(owner: Any) -> None:
    for _ in range(2):
        assert put_in_place("it counts", [override(owner)])
    assert owner().counted(2) == 6


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"name": "measured"}, "there is no .*Owner.measured"),
        ({"parameters": "self other"}, r"Owner.counted takes \(self, value\)"),
        ({"uses": "known unknown"}, "Owner.counted does not use unknown"),
    ],
)
def test_where_one_of_them_differs_all_are_left_alone(
    owner: Any, wrong: dict[str, str], told: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert not put_in_place("it counts", [override(owner), override(owner, **wrong)])
    assert owner().counted(2) == 3
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "it counts" in record.getMessage()
    assert re.search(told, record.getMessage())
