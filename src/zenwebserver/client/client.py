"""The supervisor's API seen from outside: finds it, starts it where it is needed, asks it, listens."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

from zenwebserver import left_behind
from zenwebserver.client.connection import Connection
from zenwebserver.client.events import NotBegun, events_of
from zenwebserver.client.start import start_supervisor
from zenwebserver.errors import Exit, ZenwebserverError, told
from zenwebserver.home import Home
from zenwebserver.machine.identity import Identity

ANSWER_SECONDS = 10.0
FOUND_SECONDS = 3.0  # for a supervisor to notice that its socket was deleted (supervisor/whereabouts.py)
LOOK_AGAIN_SECONDS = 0.02
TRIES = 10


class Client:
    """Talks to the supervisor of one home; `whence` says why that one is meant."""

    def __init__(self, home: Home, whence: str = "") -> None:
        self.home = home
        self.whence = whence
        self._asked: Identity | None = None  # the supervisor that the last operation was asked of

    def status(self) -> dict[str, Any] | None:
        """What runs; None where no supervisor answers, in the time that one needs to make a deleted socket anew."""
        deadline = time.monotonic() + FOUND_SECONDS
        while (status := self._status()) is None and self.is_supervised() and time.monotonic() < deadline:
            time.sleep(LOOK_AGAIN_SECONDS)
        return status

    def _status(self) -> dict[str, Any] | None:
        try:
            return self._get("/status")
        except (OSError, http.client.HTTPException):
            return None

    def threads(self, number: int) -> list[dict[str, Any]]:
        """What each thread of a server does now. Raises ZenwebserverError."""
        try:
            answer = self._get(f"/servers/{number}/threads")
        except (OSError, http.client.HTTPException) as error:
            if self.is_supervised():
                raise self.silence() from error
            raise ZenwebserverError(
                f"The supervisor does not answer: {told(error)}", hint="To start it: zenwebserver start"
            ) from error
        if "error" in answer:
            raise ZenwebserverError(f"Server {number}: {answer['error']}", hint=answer.get("hint", ""))
        threads: list[dict[str, Any]] = answer["threads"]
        return threads

    def _get(self, path: str) -> dict[str, Any]:
        with contextlib.closing(Connection(self.home.control_socket, ANSWER_SECONDS)) as connection:
            connection.connect()
            self._refuse_anothers(connection)
            connection.request("GET", path)
            with connection.getresponse() as answer:
                found: dict[str, Any] = json.load(answer)
                return found

    def upgrade(self) -> Iterator[dict[str, Any]]:
        """Have the supervisor that is installed here in the place of the one that runs. Raises ZenwebserverError."""
        done = True
        for event in self._post("/upgrade", {"python": sys.executable}):
            if event:
                done = not event.get("exit")
                yield event
            elif self._wait_until_gone():  # one of an earlier version ends, and leaves the next one to us
                start_supervisor(self.home)
                yield {"done": "Upgraded", "exit": int(Exit.DONE)}
            else:
                raise ZenwebserverError("The former supervisor does not end", hint="What runs goes on.")
        if done:  # otherwise the former one goes on
            self._wait_until_gone()

    def left_behind(self) -> dict[str, Any]:
        """What runs though no supervisor does, as `status` says it."""
        return left_behind.parts(self.home)

    def is_supervised(self) -> bool:
        """Whether a supervisor holds the home, be it one that does not answer."""
        try:
            descriptor = os.open(self.home.etc, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)

    def silence(self) -> ZenwebserverError:
        """What is said of one that is stopped, stuck, or out of descriptors."""
        return ZenwebserverError(
            "The supervisor runs but does not answer",
            hint=f"Its log: {self.home.supervisor_log}; its pid: {self.home.pid_file('supervisor')}",
        )

    def runs_something(self) -> bool:
        """Whether a supervisor runs, or something that one left behind."""
        if self.is_supervised() or self.status() is not None:
            return True
        left = self.left_behind()
        return any(part["pid"] for part in (left["loadbalancer"], left["storage"], *left["servers"]))

    def status_elsewhere(self) -> dict[str, Any] | None:
        """What runs of a home that was moved away from here while it ran; None where it was not, or is not reached."""
        supervisor = left_behind.supervisor_without_home(self.home)
        place = left_behind.moved_to(supervisor) if supervisor else None
        # Anybody may call a process so, and have it answer what he likes.
        return Client(Home(place))._status() if place and place.stat().st_uid == os.geteuid() else None

    def operate(self, name: str, **what: Any) -> Iterator[dict[str, Any]]:
        """Have the supervisor do it, and yield its events. Raises CutOff, ZenwebserverError."""
        return self._post(f"/operations/{name}", what)

    def session(self, kind: str) -> Iterator[dict[str, Any]]:
        """Hold a session in the foreground; closing the iterator ends it. Raises ZenwebserverError."""
        return self._post(f"/sessions/{kind}", {})

    def _post(self, path: str, what: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Asked again of the next supervisor, where one ends or is exchanged before it has begun with this."""
        for _ in range(TRIES):
            try:
                yield from self._post_once(path, what)
                return
            except NotBegun as error:
                unheard = error
            time.sleep(LOOK_AGAIN_SECONDS)
        raise ZenwebserverError(
            f"The supervisor went away {TRIES} times before it had begun: {unheard}",
            hint=f"Its log: {self.home.supervisor_log}",
        )

    def _post_once(self, path: str, what: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Raises NotBegun, CutOff, ZenwebserverError."""
        with contextlib.closing(self._connected()) as connection:
            try:
                connection.request("POST", path, json.dumps(what), {"Content-Type": "application/json"})
                if not connection.answers_within(ANSWER_SECONDS):
                    yield {"note": f"{self.silence().message} yet. {self.silence().hint}"}
                answer = connection.getresponse()
            except (OSError, http.client.HTTPException) as error:  # it begins when it has sent the head of the answer
                raise NotBegun(told(error) or "it ended") from error
            with answer:
                yield from events_of(answer)

    def _connected(self) -> Connection:
        """A connection to the supervisor, which is started where there is none."""
        deadline = time.monotonic() + ANSWER_SECONDS
        while True:
            connection = Connection(self.home.control_socket, None)
            try:
                connection.connect()
                self._refuse_anothers(connection)
            except OSError:
                connection.close()
                # None runs, or one is just beginning or ending, or was robbed of its socket.
                if not start_supervisor(self.home) and time.monotonic() > deadline:
                    raise self.silence() from None
                time.sleep(LOOK_AGAIN_SECONDS)
            else:
                self._asked = connection.peer()
                return connection

    def _refuse_anothers(self, connection: Connection) -> None:
        """Raises OSError where it is the socket of another home, of which this one is a copy with hard links."""
        peer = connection.peer()
        if peer and (path := left_behind.supervised_by(peer)) and self.home.is_other_than(path):
            raise ConnectionRefusedError(f"the supervisor of {path} answers at {self.home.control_socket}")

    def wait_for_end(self) -> None:
        """Wait until the supervisor's process has ended, when it was told that nothing is left to do."""
        deadline = time.monotonic() + ANSWER_SECONDS
        while time.monotonic() < deadline and not self.home.control_socket.exists():
            if not self._asked or Identity.of(self._asked.pid) != self._asked:
                return
            time.sleep(LOOK_AGAIN_SECONDS)

    def _wait_until_gone(self) -> bool:
        """Whether the supervisor that was asked has ended."""
        deadline = time.monotonic() + ANSWER_SECONDS
        while (asked := self._asked) and Identity.of(asked.pid) == asked:
            if time.monotonic() > deadline:
                return False
            time.sleep(LOOK_AGAIN_SECONDS)
        return True
