"""Who asks for a change while the supervisor begins, ends or is exchanged."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from zenwebserver.supervisor.gate import Gate

POST: Scope = {"type": "http", "method": "POST"}
GET: Scope = {"type": "http", "method": "GET"}


def api(name: str, may_end: asyncio.Event | None = None) -> ASGIApp:
    """Answers with its name, when it may end."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if may_end:
            await may_end.wait()
        await send({"type": "http.response.body", "body": name.encode(), "more_body": True})
        await send({"type": "http.response.body"})

    return answer


async def ask(gate: Gate, scope: Scope) -> tuple[int, bytes]:
    said: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        said.append(message)

    await gate(scope, receive, send)
    return said[0]["status"], b"".join(message.get("body", b"") for message in said)


async def a_moment() -> None:
    await asyncio.sleep(0.001)


async def test_while_supervisors_are_exchanged_changes_wait_and_reading_does_not() -> None:
    gate = Gate(lambda: None)
    gate.open(api("former"))
    gate.pause()
    change = asyncio.create_task(ask(gate, POST))
    assert await ask(gate, GET) == (200, b"former")
    await a_moment()
    assert not change.done()
    gate.open(api("next life"))
    assert await change == (200, b"next life")


async def test_where_another_supervisor_follows_whoever_waits_or_comes_is_sent_on_to_it() -> None:
    gate = Gate(lambda: None)
    gate.open(api("former"))
    gate.pause()
    change = asyncio.create_task(ask(gate, POST))
    await a_moment()
    gate.shut()
    for status, answer in (await change, await ask(gate, POST)):
        assert status == 503
        assert b'"again":true' in answer
        assert b'"exit":1' in answer
    assert await ask(gate, GET) == (200, b"former")


async def test_the_gate_is_empty_before_the_end_of_the_last_answer_is_sent() -> None:
    seen: list[Any] = []
    gate = Gate(lambda: seen.append(("over", gate.empty)))
    may_end = asyncio.Event()
    gate.open(api("it", may_end))

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        seen.append(message.get("more_body", message["type"]))

    asking = asyncio.create_task(gate(POST, receive, send))
    await a_moment()
    assert not gate.empty
    may_end.set()
    await asking
    assert seen == ["http.response.start", True, ("over", True), "http.response.body"]


async def test_whoever_hangs_up_leaves() -> None:
    over: list[bool] = []
    gate = Gate(lambda: over.append(gate.empty))
    gate.open(api("it", asyncio.Event()))
    asking = asyncio.create_task(ask(gate, POST))
    await a_moment()
    asking.cancel()
    await asyncio.wait([asking])
    assert gate.empty
    assert over == [True]
