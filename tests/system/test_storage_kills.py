"""Storage is killed and restarted under writers: what was acknowledged is in Data.fs, and once."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass

from harness import Site
from load import Failure, Load
from seen import made
from shared import Shared

SETTINGS = {"threads": 4, "warmupPaths": "/who"}
WRITERS = 15
TURNS = 8
# What a request may be answered that was inside storage's gap.
AWAY = {"500", "502", "503", "504"}
# An id that was given twice, in ZODB's, BTrees', Zope's and our words.
CLASHES = ("already has the same oid", "OidClash", "POSKeyError", "KeyError:", "AttributeError:")


@dataclass(frozen=True)
class Gap:
    """From when storage ended until somebody could write again; seconds, time.time()."""

    began: float
    ended: float


def end_storage(site: Site, how: str) -> None:
    if how == "kill":
        site.kill("storage")  # the supervisor starts it again
    else:
        site.ok("restart", "storage")


def gaps_under(load: Load, site: Site) -> list[Gap]:
    gaps = []
    for how in itertools.islice(itertools.cycle(("kill", "restart")), TURNS):
        load.wait_for_stored(6 * WRITERS)
        began = time.time()
        end_storage(site, how)
        load.wait_for_stored(WRITERS)
        gaps.append(Gap(began, time.time()))
    return gaps


def outside(gaps: list[Gap], failures: list[Failure]) -> list[Failure]:
    """The failures that no gap explains."""
    return [
        failure
        for failure in failures
        if failure.kind not in AWAY or not any(gap.began < failure.ended and failure.began < gap.ended for gap in gaps)
    ]


def test_every_acknowledged_object_is_stored_once(shared: Site, shared_by_module: Shared) -> None:
    with Load(shared.port, clients=WRITERS, pause=0.01, pages=("/who",), posts="/make") as load:
        gaps = gaps_under(load, shared)
        load.wait_for_stored(WRITERS)
    logs = {path.name: path.read_text(errors="replace") for path in (shared.home / "log").rglob("*.log")}
    assert {name: words for name, text in logs.items() for words in CLASHES if words in text} == {}
    assert outside(gaps, load.outcome.failures) == []
    print(f"{len(load.outcome.stored)} acknowledged, {len(load.outcome.failures)} failed: {load.outcome.failures}")
    print(f"writes went on after {[round(gap.ended - gap.began, 1) for gap in gaps]} s")
    shared.ok("stop")
    counts = made(shared)
    assert load.outcome.stored <= set(counts)
    assert {ident: count for ident, count in counts.items() if count > 1} == {}
    shared_by_module.end()
