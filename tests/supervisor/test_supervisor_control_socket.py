"""The control socket: made anew where it is gone, and nobody who is being answered notices."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Iterator

import pytest
from asking import ask
from short_home import short_home
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from zenwebserver.home import Home
from zenwebserver.machine.unix_sockets import listen_on
from zenwebserver.supervisor.control_socket import ControlSocket


@pytest.fixture
def home() -> Iterator[Home]:
    with short_home() as home:
        yield home


class Tiny:
    """An API that answers /name at once, and /long line by line, the last one when it `may_end`."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()
        self.app = Starlette(
            routes=[Route("/name", self._name), Route("/long", self._long, methods=["POST"])],
        )

    async def _name(self, _: Request) -> Response:
        return PlainTextResponse("tiny")

    async def _long(self, _: Request) -> Response:
        async def lines() -> AsyncIterator[str]:
            yield '{"begin": 1}\n'
            await self.may_end.wait()
            yield '{"exit": 0}\n'

        return StreamingResponse(lines())


@contextlib.asynccontextmanager
async def opened(home: Home, tiny: Tiny) -> AsyncIterator[ControlSocket]:
    control = ControlSocket(home.control_socket, lambda: None)
    control.open(tiny.app)
    try:
        yield control
    finally:
        await control.close()


async def name(home: Home) -> str:
    status, text = await (await ask(home.control_socket, "GET", "/name")).answer()
    assert status == 200
    return text


async def test_it_is_for_its_owner_alone_and_gone_when_it_is_closed(home: Home) -> None:
    async with opened(home, Tiny()) as control:
        assert control.is_there
        assert home.control_socket.stat().st_mode & 0o777 == 0o600
        assert await name(home) == "tiny"
    assert list(home.run.iterdir()) == []


async def test_deleted_it_is_made_anew_and_what_is_being_answered_goes_on_to_its_end(home: Home) -> None:
    tiny = Tiny()
    async with opened(home, tiny) as control:
        long = await ask(home.control_socket, "POST", "/long")
        assert await long.status() == 200
        assert await long.line() == '{"begin": 1}'
        for _ in range(3):
            shutil.rmtree(home.run)
            home.make_folders()
            assert not control.is_there
            control.open_anew()
            assert control.is_there
            assert await name(home) == "tiny"
        await asyncio.sleep(60)
        tiny.may_end.set()
        assert await long.line() == '{"exit": 0}'
        await long.rest()


async def test_another_socket_at_its_path_is_replaced(home: Home) -> None:
    async with opened(home, Tiny()) as control:
        with listen_on(home.control_socket):
            assert not control.is_there
            control.open_anew()
        assert await name(home) == "tiny"


async def test_where_it_cannot_be_made_anew_yet_the_next_try_makes_it(home: Home) -> None:
    async with opened(home, Tiny()) as control:
        shutil.rmtree(home.run)
        with pytest.raises(FileNotFoundError):
            control.open_anew()
        assert not control.is_there
        home.make_folders()
        control.open_anew()
        assert await name(home) == "tiny"


async def test_closing_it_leaves_the_socket_of_the_next_supervisor_alone(home: Home) -> None:
    async with opened(home, Tiny()):
        successor = listen_on(home.control_socket)
    assert home.control_socket.is_socket()
    successor.close()


async def test_at_the_end_whoever_is_being_answered_gets_the_whole_answer(home: Home) -> None:
    tiny = Tiny()
    async with opened(home, tiny) as control:
        long = await ask(home.control_socket, "POST", "/long")
        assert await long.status() == 200
        closing = asyncio.create_task(control.close())
        await asyncio.sleep(1)
        assert not home.control_socket.exists()
        tiny.may_end.set()
        assert '{"exit": 0}' in await long.rest()
        await closing


async def test_an_answer_without_end_does_not_keep_the_supervisor_from_ending(home: Home) -> None:
    tiny = Tiny()
    async with opened(home, tiny) as control:
        long = await ask(home.control_socket, "POST", "/long")
        assert await long.status() == 200
        begun = asyncio.get_running_loop().time()
        await control.close()
        assert asyncio.get_running_loop().time() - begun < 10
        long.hang_up()
        await asyncio.sleep(1)


async def test_cut_off_it_listens_no_more(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    listener = listen_on(home.control_socket)
    monkeypatch.setattr("zenwebserver.supervisor.control_socket.listen_on", lambda _: listener)
    async with opened(home, Tiny()):
        assert await name(home) == "tiny"
        (serving,) = (task for task in asyncio.all_tasks() if task.get_name() == "The control socket")
        serving.cancel()
        await asyncio.wait([serving])
        assert listener.fileno() == -1
