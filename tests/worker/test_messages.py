"""What crosses the line is understood by older and newer ends, and refused where it is no message."""

from __future__ import annotations

import json
from typing import Any

import pytest

from zenwebserver.worker.messages import (
    VERSION,
    Figures,
    Forked,
    Order,
    OrderName,
    ServerSpec,
    Standing,
    ThreadNow,
    WorkerState,
    ZygoteSpec,
    decode,
    encode,
)

SPEC = ServerSpec("3", "/s/zope.ini", "/s/zope3.conf", 4, token="t9", supervisor="/s/sock", warmup_paths=("/", "/ä"))
ALL = [
    Standing(WorkerState.READY, token="t9", pid=12, server="3", release="7", version=VERSION),
    Standing(WorkerState.FAILED, token="t9", pid=12, zygote="7", reason="Traceback …\nKeyError: '\N{SNOWMAN}'"),
    Standing(WorkerState.SERVING, figures=Figures(requests=3, memory=1 << 40, busy=1, all_busy_seconds=0.5)),
    Standing(WorkerState.SERVING, threads=(ThreadNow("MainThread"), ThreadNow("w", "GET /", 1.5, "  File …\n"))),
    Standing(WorkerState.SERVING, threads=()),
    Standing(WorkerState.READY, zygote="7", forked=Forked("t9", pid=13)),
    Standing(WorkerState.READY, zygote="7", forked=Forked("t9", failure="was killed by SIGSEGV")),
    Order(OrderName.LEAVE, timeout=2.5),
    Order(OrderName.FORK, server=SPEC, log="/s/zope3.log"),
    SPEC,
    ZygoteSpec("7", "/s/zope.ini", "/s/release7.conf", "/s/sock", token="t8"),
]


@pytest.mark.parametrize("message", ALL, ids=lambda message: type(message).__name__)
def test_what_is_sent_is_received(message: Any) -> None:
    line = encode(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode(type(message), line) == message


def test_a_server_says_what_every_supervisor_since_the_first_reads() -> None:
    standing = Standing(WorkerState.SERVING, token="t9", pid=12, server="3", release="7", version=1)
    said = {"state": "serving", "token": "t9", "pid": 12, "server": "3", "release": "7", "version": 1}
    assert json.loads(encode(standing)) == said  # no "zygote": whoever says that is one
    figures = {"requests": 3, "memory": 4096, "busy": 1, "all_busy_seconds": 0.5}
    standing = Standing(WorkerState.SERVING, server="3", figures=Figures(3, 4096, 1, 0.5))
    assert json.loads(encode(standing))["figures"] == figures
    threads = [{"name": "w", "request": "GET /", "seconds": 1.5, "stack": "…"}]
    standing = Standing(WorkerState.SERVING, server="3", threads=(ThreadNow("w", "GET /", 1.5, "…"),))
    assert json.loads(encode(standing))["threads"] == threads


def test_a_zygote_says_what_every_supervisor_since_the_first_reads() -> None:
    standing = Standing(WorkerState.UNSAFE, pid=12, zygote="7", reason="a thread", version=1)
    said = {"state": "unsafe", "pid": 12, "zygote": "7", "reason": "a thread", "version": 1}
    assert json.loads(encode(standing)) == said


def test_an_order_says_what_every_server_since_the_first_reads() -> None:
    said = {"order": "leave", "listener": False, "timeout": 30.0, "version": 1}
    assert json.loads(encode(Order(OrderName.LEAVE, timeout=30.0))) == said
    said = {"order": "accept", "listener": True, "timeout": 0.0, "version": 1}
    assert json.loads(encode(Order(OrderName.ACCEPT, listener=True))) == said


def test_what_was_said_before_there_were_versions_and_tokens_is_understood() -> None:
    line = '{"server": "3", "release": "7", "pid": 12, "state": "serving", "figures": {"requests": 3, "busy": 0}}'
    understood = Standing(WorkerState.SERVING, pid=12, server="3", release="7", figures=Figures(requests=3))
    assert decode(Standing, line) == understood
    assert decode(Standing, line).version == 0
    assert decode(Standing, line).token == ""
    line = '{"order": "leave", "listener": false, "timeout": 60}'
    assert decode(Order, line) == Order(OrderName.LEAVE, timeout=60.0)


def test_keys_of_a_later_version_are_ignored() -> None:
    line = '{"state": "ready", "version": 99, "mood": "good", "forked": {"token": "t", "pid": 3, "mood": [1]}}'
    assert decode(Standing, line) == Standing(WorkerState.READY, version=99, forked=Forked("t", 3))


@pytest.mark.parametrize(
    "line",
    [
        "",
        "ready",
        "[]",
        "null",
        '"ready"',
        "{}",
        '{"state": "merry"}',
        '{"state": ["ready"]}',
        '{"state": null}',
        '{"state": "ready", "pid": "12"}',
        '{"state": "ready", "pid": 12.0}',
        '{"state": "ready", "pid": true}',
        '{"state": "ready", "pid": null}',
        '{"state": "ready", "server": 3}',
        '{"state": "ready", "figures": "x"}',
        '{"state": "ready", "figures": {"requests": "x"}}',
        '{"state": "ready", "figures": {"all_busy_seconds": NaN}}',
        '{"state": "ready", "figures": {"all_busy_seconds": -Infinity}}',
        '{"state": "ready", "figures": {"all_busy_seconds": 1e999}}',
        '{"state": "ready", "figures": {"all_busy_seconds": 1' + 400 * "0" + "}}",
        '{"state": "ready", "figures": {"requests": 1' + 5000 * "0" + "}}",
        '{"state": "ready", "threads": {}}',
        '{"state": "ready", "threads": [{"request": "GET /"}]}',
        '{"state": "ready", "forked": 3}',
        '{"state": "ready", "forked": {"pid": 3}}',
        b"\xff\xfe\xfd",
        b'{"state": "ready", "reason": "\xe4"}',
    ],
    ids=lambda line: repr(line[:60]),
)
def test_what_is_no_message_is_refused(line: str | bytes) -> None:
    with pytest.raises(ValueError) as refused:
        decode(Standing, line)
    assert len(str(refused.value)) < 300


def test_what_is_nested_deeply_is_refused_whatever_it_is_too_deep_for() -> None:
    for depth in [*range(1000), 100_000]:
        with pytest.raises(ValueError):
            decode(Standing, '{"state": "ready", "reason": ' + depth * "[" + "1" + depth * "]" + "}")


def test_a_refusal_does_not_repeat_what_was_too_long() -> None:
    with pytest.raises(ValueError, match="no WorkerState") as refused:
        decode(Standing, json.dumps({"state": 100_000 * "x"}))
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize("missing", ["server", "zope_ini", "zope_conf", "threads"])
def test_a_server_is_not_begun_without_what_it_needs(missing: str) -> None:
    content = json.loads(encode(SPEC))
    del content[missing]
    with pytest.raises(ValueError, match=missing):
        decode(ServerSpec, json.dumps(content))
