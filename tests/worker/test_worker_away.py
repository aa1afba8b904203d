"""What visitors are answered where the site's storage is away; nothing that may be stored is asked for again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from zenwebserver.worker.away import Available
from zenwebserver.worker.patience import Request, StorageAway

PAGE = b"<html>the admin's own page</html>"


class ClientDisconnected(Exception):
    """As ZEO's is called."""


class Clients:
    def __init__(self) -> None:
        self.request = Request()
        self.error: Exception | None = None

    def wait(self) -> None:
        if self.error:
            self.request.away = True
            raise self.error


class Stage:
    """A site that does what a test says, and what a visitor got of it."""

    def __init__(self, folder: Path) -> None:
        self.clients = Clients()
        self.page = folder / "50x.html"
        self.page.write_bytes(PAGE)
        self.does: Callable[[Any], Iterable[bytes]] = self.answers("200 OK")
        self.asked = 0
        self.started: list[tuple[str, dict[str, str]]] = []
        self.closed = 0

    def answers(self, status: str, *, away: bool = False, finishes: int = 0) -> Callable[[Any], Iterable[bytes]]:
        def answer(start: Any) -> Iterable[bytes]:
            self.clients.request.away, self.clients.request.finishes = away, finishes
            start(status, [("Content-Type", "text/plain")])
            return Body(self, [b"the site's own"])

        return answer

    def raises(self, error: Exception, *, begun: bool = False, finishes: int = 0) -> None:
        def fail(start: Any) -> Iterable[bytes]:
            if begun:
                start("200 OK", [])
            self.clients.request.finishes = finishes
            raise error

        self.does = fail

    def get(self, accept: str = "text/html", method: str = "GET") -> bytes:
        def site(_: Any, start: Any) -> Iterable[bytes]:
            self.asked += 1
            return self.does(start)

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[..., None]:
            self.started.append((status, dict(headers)))
            return lambda _: None

        available = Available(site, self.clients, str(self.page))  # type: ignore[arg-type]
        body = available({"REQUEST_METHOD": method, "HTTP_ACCEPT": accept}, start_response)
        return b"".join(body)

    @property
    def status(self) -> str:
        assert len(self.started) == 1
        return self.started[0][0]


class Body(list[bytes]):
    def __init__(self, stage: Stage, content: list[bytes]) -> None:
        super().__init__(content)
        self._stage = stage

    def close(self) -> None:
        self._stage.closed += 1


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_what_the_site_answers_passes_as_it_is(stage: Stage) -> None:
    assert stage.get() == b"the site's own"
    assert stage.started == [("200 OK", {"Content-Type": "text/plain"})]


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html"),
        ("application/json", "application/json"),
        ("application/problem+json", "application/json"),
        ("*/*", "text/plain"),
        ("", "text/plain"),
    ],
)
def test_away_the_site_is_not_asked_and_each_visitor_understands_the_answer(
    stage: Stage, accept: str, kind: str
) -> None:
    stage.clients.error = StorageAway("away")
    body = stage.get(accept)
    assert stage.status == "503 Service Unavailable"
    headers = stage.started[0][1]
    assert headers == {
        "Content-Type": f"{kind}; charset=utf-8",
        "Content-Length": str(len(body)),
        "Cache-Control": "no-store",
        "Retry-After": "10",
    }
    assert stage.asked == 0
    if kind == "text/html":
        assert body == PAGE
    else:
        said = json.loads(body)["message"] if kind == "application/json" else body.decode()
        assert "Nothing was changed" in said


def test_without_the_page_a_browser_gets_a_sentence(stage: Stage) -> None:
    stage.page.unlink()
    stage.clients.error = StorageAway("away")
    assert b"try again" in stage.get()
    assert stage.started[0][1]["Content-Type"].startswith("text/plain")


def test_a_head_gets_the_headers_alone(stage: Stage) -> None:
    stage.clients.error = StorageAway("away")
    assert stage.get(method="HEAD") == b""
    assert stage.started[0][1]["Content-Length"] == str(len(PAGE))


@pytest.mark.parametrize("error", [StorageAway("away"), ClientDisconnected("in every try")], ids=repr)
def test_what_the_site_raises_of_it_is_503(stage: Stage, error: Exception) -> None:
    stage.raises(error)
    assert stage.get() == PAGE
    assert stage.status.startswith("503")


@pytest.mark.parametrize(
    ("error", "begun", "finishes"),
    [
        (ValueError("the site's own"), False, 0),
        (StorageAway("in the middle of an answer"), True, 0),
        (StorageAway("behind a commit"), False, 1),
        (ClientDisconnected("of a second database, behind the commit of the first"), False, 1),
    ],
    ids=repr,
)
def test_what_is_not_of_it_or_has_begun_or_may_be_stored_stays_what_it_is(
    stage: Stage, error: Exception, begun: bool, finishes: int
) -> None:
    stage.raises(error, begun=begun, finishes=finishes)
    with pytest.raises(type(error)):
        stage.get()
    assert len(stage.started) == begun


def test_a_page_that_the_site_makes_of_its_absence_is_replaced(stage: Stage) -> None:
    stage.does = stage.answers("500 Internal Server Error", away=True)
    assert stage.get() == PAGE
    assert stage.status.startswith("503")
    assert stage.closed == 1, "the site's own answer"


@pytest.mark.parametrize(
    ("status", "away", "finishes"),
    [("500 Its own error", False, 0), ("500 It may be stored", True, 1), ("200 It could do without", True, 0)],
)
def test_any_other_page_is_not(stage: Stage, status: str, away: bool, finishes: int) -> None:
    stage.does = stage.answers(status, away=away, finishes=finishes)
    assert stage.get() == b"the site's own"
    assert stage.status == status


def test_an_answer_that_begins_when_it_is_read_is_not_taken_back(stage: Stage) -> None:
    def lazy(start: Any) -> Iterable[bytes]:
        stage.clients.request.away = True
        start("500 Internal Server Error", [])
        yield b"the site's own"

    stage.does = lazy
    assert stage.get() == b"the site's own"
    assert stage.status.startswith("500")


def test_each_request_is_looked_at_by_itself(stage: Stage) -> None:
    def own_error(start: Any) -> Iterable[bytes]:
        start("500 Its own error", [])
        return [b"the site's own"]

    stage.clients.error = StorageAway("away")
    stage.get()
    stage.clients.error = None
    stage.started.clear()
    stage.does = own_error
    assert stage.get() == b"the site's own"
    stage.clients.request.finishes = 1  # one before it has stored something
    stage.started.clear()
    stage.clients.error = StorageAway("away")
    assert stage.get() == PAGE
