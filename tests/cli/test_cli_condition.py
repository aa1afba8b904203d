"""What `status` says in a word: less than is asked for is told, and a detached server is no fault."""

from __future__ import annotations

from typing import Any

import pytest

from zenwebserver.cli.condition import Condition, condition, words_of


def server(number: int, *, pid: int | None = 1, attached: bool = True, **more: Any) -> dict[str, Any]:
    sends = {"nginx_sends": bool(pid and attached)}
    state = {"state": "running" if pid else "stopped", "reason": ""}
    return {"number": number, "pid": pid, "attached": attached, "deployed": True, **sends, **state, **more}


def status(
    *servers: dict[str, Any], nginx: int | None = 7, storage: int | None = 8, needed: bool = True, **more: Any
) -> dict[str, Any]:
    reason = more.pop("reason", "")
    return {
        "loadbalancer": {"pid": nginx, "reason": ""},
        "storage": {"pid": storage, "needed": needed, "reason": reason},
        "servers": list(servers),
        "change": "",
        **more,
    }


DOWN = {"pid": None, "state": "failed"}
ALL = (server(1), server(2))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (status(*ALL), Condition(True, True, "")),
        (status(*ALL, storage=None, needed=False), Condition(True, True, "")),
        (status(server(1), server(2, attached=False)), Condition(True, True, "2 of 2 servers; 1 detached")),
        (status(server(1), server(2, **DOWN)), Condition(True, False, "1 of 2 servers")),
        (status(server(1), server(2, pid=None)), Condition(True, False, "1 of 2 servers")),
        (
            status(server(1), server(2), server(3, attached=False), server(4, **DOWN), server(5, **DOWN), storage=None),
            Condition(True, False, "3 of 5 servers; 1 detached; storage is down"),
        ),
        (
            status(*ALL, storage=None, reason="it was killed by SIGKILL"),
            Condition(True, False, "2 of 2 servers; storage is down (it was killed by SIGKILL)"),
        ),
        (
            status(server(1, pid=None), server(2, pid=None)),
            Condition(False, False, "0 of 2 servers; the load balancer runs: pid=7; storage runs: pid=8"),
        ),
        (
            status(*ALL, nginx=None),
            Condition(False, False, "2 of 2 servers; the load balancer is down; storage runs: pid=8"),
        ),
        (status(server(1, pid=None), nginx=None, storage=None), Condition(False, False, "")),
        (status(nginx=None, storage=None), Condition(False, False, "")),
        (
            status(*ALL, server(3, pid=None, state="starting"), change="deploy"),
            Condition(True, True, "2 of 3 servers; under way: deploy"),
        ),
        (
            status(*ALL, server(3, **DOWN), change="deploy"),
            Condition(True, False, "2 of 3 servers; under way: deploy"),
        ),
        (status(*ALL, server(3, nginx_sends=False)), Condition(True, False, "3 of 3 servers; nginx has another pool")),
        (
            status(*ALL, server(3, attached=False, nginx_sends=True)),
            Condition(True, False, "3 of 3 servers; 1 detached; nginx has another pool"),
        ),
        (
            status(*ALL, server(3, attached=False, deployed=False)),
            Condition(True, True, "2 of 2 servers; 1 not deployed any more"),
        ),
    ],
)
def test_what_is_not_as_it_is_asked_for_is_said(found: dict[str, Any], expected: Condition) -> None:
    assert condition(found) == expected


def test_what_an_earlier_supervisor_tells_is_understood() -> None:
    old = {"pid": 1, "attached": True, "number": 1, "reason": ""}
    found = {"loadbalancer": {"pid": 7, "reason": ""}, "storage": {"pid": None, "reason": ""}, "servers": [old]}
    assert condition(found) == Condition(True, True, "")
    assert words_of(old) == ""


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (server(1), ""),
        (server(1, attached=False), "Detached from server pool"),
        (server(1, attached=False, nginx_sends=None), "Detached from server pool"),
        (
            server(1, attached=False, nginx_sends=True),
            "Detached from server pool by the record, but nginx sends it visitors",
        ),
        (
            server(1, nginx_sends=False),
            "Attached to the server pool by the record, but nginx sends it no visitors",
        ),
        (server(1, pid=None, nginx_sends=False), ""),
        (server(1, pid=None, state="reviving", nginx_sends=True), ""),
        (server(1, pid=None, state="failed", nginx_sends=True), "It does not run, but nginx sends it visitors"),
        (server(1, attached=False, deployed=False), "Not deployed any more"),
        (
            server(1, attached=False, deployed=False, nginx_sends=True),
            "Not deployed any more, but nginx sends it visitors",
        ),
    ],
)
def test_the_record_and_nginx_are_both_named_where_they_differ(seen: dict[str, Any], words: str) -> None:
    assert words_of(seen) == words
