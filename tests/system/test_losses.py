"""The count of what visitors lose can fail."""

from __future__ import annotations

import pytest
from load import Failure
from losses import CONNECTION_CUT, POST_IN_THE_SERVER, REFUSED, beyond

BACK = 100.0


def failure(client: int, method: str, kind: str, began: float = 50.0) -> Failure:
    return Failure(client, method, kind, began, "")


def test_of_a_server_a_post_a_client_may_be_lost() -> None:
    lost = [failure(client, "POST", "502") for client in range(8)]
    assert beyond([POST_IN_THE_SERVER], lost, BACK) == []


@pytest.mark.parametrize(
    "surplus",
    [
        failure(0, "POST", "502"),
        failure(9, "GET", "502"),
        failure(9, "POST", "500"),
        failure(9, "POST", "RemoteDisconnected"),
        failure(9, "POST", "502", began=BACK + 1),
    ],
    ids=str,
)
def test_another_one_may_not(surplus: Failure) -> None:
    lost = [failure(client, "POST", "502") for client in range(8)]
    assert beyond([POST_IN_THE_SERVER], [*lost, surplus], BACK) == [surplus]


def test_where_nothing_may_be_lost_each_failure_is_one_too_many() -> None:
    one = failure(0, "GET", "ConnectionRefusedError")
    assert beyond([], [one], BACK) == [one]


def test_each_loss_is_counted_by_itself() -> None:
    lost = [failure(0, "GET", "ConnectionRefusedError")] * 5 + [failure(0, "GET", "RemoteDisconnected")]
    assert beyond([CONNECTION_CUT, REFUSED], lost, BACK) == []
    assert beyond([CONNECTION_CUT, REFUSED], [*lost, lost[-1]], BACK) == [lost[-1]]
