"""When a server is to be replaced, and why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from zenwebserver.settings import parse
from zenwebserver.supervisor.health import MOST_JITTER, SILENT_SECONDS, verdict

PLAIN = parse("", Path("/home"))
MEGABYTE = 1024**2


def test_by_default_nothing_that_a_server_reports_replaces_it() -> None:
    figures = {"requests": 10**9, "memory": 10**12, "busy": 4, "all_busy_seconds": 10**6}
    assert verdict(figures, 0.0, 1, PLAIN) is None
    assert verdict({}, 0.0, 1, PLAIN) is None


def test_one_that_is_silent_cannot_be_asked_to_leave() -> None:
    assert verdict({}, SILENT_SECONDS, 1, PLAIN) is None
    found = verdict({}, SILENT_SECONDS + 1, 1, PLAIN)
    assert found
    assert (found.hangs, found.answers) == (True, False)
    assert found.why == "it has not reported for 31 s"


def test_one_whose_threads_are_all_busy_for_too_long_hangs() -> None:
    settings = replace(PLAIN, hung_timeout=60)
    assert verdict({"all_busy_seconds": 60.0}, 0.0, 1, settings) is None
    found = verdict({"all_busy_seconds": 61.0}, 0.0, 1, settings)
    assert found
    assert (found.hangs, found.answers) == (True, True)
    assert "61 s" in found.why


def test_neighbours_are_old_at_different_numbers_of_requests() -> None:
    settings = replace(PLAIN, max_requests=1000)
    pids = range(100, 100 + MOST_JITTER + 1)
    limits = [next(n for n in range(2000) if verdict({"requests": n}, 0.0, pid, settings)) for pid in pids]
    assert sorted(limits) == list(range(1000, 1101, 10))


@pytest.mark.parametrize(("memory", "replaced"), [(199 * MEGABYTE, False), (200 * MEGABYTE, True)])
def test_one_that_has_grown_is_replaced_while_it_serves(memory: int, replaced: bool) -> None:
    found = verdict({"memory": memory}, 0.0, 1, replace(PLAIN, max_memory=200 * MEGABYTE))
    assert bool(found) == replaced
    if found:
        assert (found.why, found.hangs) == ("it has 200 MB of memory", False)
