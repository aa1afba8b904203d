"""How events and states look. To the letter where standard output is no terminal; colour only on one."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from rich.console import Console
from rich.text import Text

from zenwebserver.cli.condition import condition, words_of
from zenwebserver.client.events import CutOff
from zenwebserver.errors import Exit, ZenwebserverError, told

WIDTH = 50
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # of what has no name: a file's errors have one
COLOURS = {"[OK]": "green", "[UP]": "green", "[FAIL]": "red", "[DOWN]": "red"}


def _open_what_is_closed() -> None:
    """A command that was started without an output (`>&-`) has none; what it opens must not take that one's place."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            nowhere = open(os.devnull, "r" if name == "stdin" else "w")  # noqa: SIM115, PTH123 - as long as it lives
            setattr(sys, name, nowhere)


_open_what_is_closed()

# Colour is for a terminal, whatever FORCE_COLOR and the like ask for: other tools parse what they read.
out = Console(force_terminal=sys.stdout.isatty(), soft_wrap=True, highlight=False, markup=False, emoji=False)
err = Console(
    stderr=True, force_terminal=sys.stderr.isatty(), soft_wrap=True, highlight=False, markup=False, emoji=False
)


def lost(error: OSError) -> ZenwebserverError | None:
    """What is said where `error` came of writing to the output; what could not be said is given up."""
    if error.errno not in NO_ROOM or error.filename:
        return None
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - its descriptor takes that one's place
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
    hint = "What it had begun, if anything, goes on. To see how it stands: zenwebserver status"
    return ZenwebserverError(f"The output cannot be written: {told(error)}", hint=hint)


def line(text: str = "") -> None:
    out.print(text)


def mark(what: str, word: str) -> None:
    """`what` padded to its column, then the word."""
    out.print(Text(what.ljust(WIDTH)) + Text(word, style=COLOURS[word] if out.is_terminal else ""))


def show_error(error: ZenwebserverError) -> None:
    if error.detail:
        err.print(error.detail, style="dim" if err.is_terminal else "")
    err.print(f"zenwebserver: {error.message}", style="red" if err.is_terminal else "")
    if error.hint:
        err.print(error.hint)


def follow(events: Iterable[dict[str, Any]], *, verbose: bool) -> dict[str, Any]:
    """Show events as they come; returns the last one. Without `verbose`, steps are shown only while they go on."""
    last: dict[str, Any] = {}
    under_way: list[str] = []
    with _spinner(verbose) as spin:
        for event in _heard(events, under_way):
            last = event
            if "begin" in event:
                under_way.append(event["begin"])
            elif "end" in event:
                under_way.remove(event["end"])
                if verbose:
                    mark(event["end"], "[OK]" if event["ok"] else "[FAIL]")
            elif "note" in event:
                line(event["note"])
            elif "password" in event:
                line(f"Administrator: {event['user']}")
                line(f"Password:      {event['password']}   (shown this once; stored only hashed)")
            spin(", ".join(under_way))
    return last


def _heard(events: Iterable[dict[str, Any]], under_way: list[str]) -> Iterator[dict[str, Any]]:
    """All to the last one, which says how it ended; where that does not come, one in its place."""
    why, event = "", {}
    try:
        for event in events:
            yield event
    except CutOff as error:
        why = f" ({error})"
    if "exit" not in event and "session" not in event:
        during = f" during: {', '.join(under_way)}" if under_way else " before it said how it ended"
        yield {
            "error": f"The supervisor went away{during}{why}",
            "hint": "How that ended is not known; what runs goes on. To see how it stands: zenwebserver status",
            "exit": int(Exit.FAILED),
        }


def close(last: dict[str, Any]) -> Exit:
    """The last line of an operation, and its exit code."""
    if "error" in last:
        show_error(ZenwebserverError(last["error"], hint=last.get("hint", ""), detail=last.get("detail", "")))
    elif last.get("done"):
        line(last["done"])
    return Exit(last.get("exit", Exit.FAILED))


@contextlib.contextmanager
def _spinner(verbose: bool) -> Iterator[Any]:
    """On a terminal: what is under way now."""
    if not out.is_terminal or not sys.stdout.isatty():
        yield lambda _: None
        return
    with out.status("") as status:
        yield lambda words: status.update(f"{words} …" if words else "")


def show_status(status: dict[str, Any], *, verbose: bool, named: list[tuple[str, dict[str, Any]]] | None) -> Exit:
    """The formats that other tools parse."""
    found = condition(status)
    if named is not None:
        for title, part in named:
            _show_part(title, part) if verbose else line(f"{title}: {_in_a_word(part)}")
        return Exit.DONE if all(part["pid"] for _, part in named) else Exit.FAILED
    if verbose:
        for title, part in parts_of(status):
            _show_part(title, part)
    else:
        line(f"program running; pid={status['loadbalancer']['pid']}" if found.up else "not running")
        if found.summary:
            line(found.summary)
    return Exit.DONE if found.complete else Exit.FAILED


def _in_a_word(part: dict[str, Any]) -> str:
    words = [f"program running; pid={part['pid']}" if part["pid"] else "not running"]
    if "attached" in part and (seen := words_of(part)):
        words.append(seen[0].lower() + seen[1:])
    if part["reason"] and not part["pid"]:
        words.append(part["reason"])
    return "; ".join(words)


def show_json(status: dict[str, Any]) -> None:
    line(json.dumps(status, indent=2))


def show_threads(threads: list[dict[str, Any]]) -> None:
    for thread in threads:
        request = f"{thread['request']}, for {thread['seconds']:.1f} s" if thread["request"] else "no request"
        line(f"{thread['name']}: {request}")
        line(thread["stack"])


def parts_of(status: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Servers in numeric order, the load balancer, storage where it runs."""
    servers = sorted(status["servers"], key=lambda server: int(server["number"]))
    several = len({server.get("release") for server in servers if server.get("release")}) > 1
    parts = [(f"Server {server['number']}", {**server, "several_releases": several}) for server in servers]
    parts.append(("Load balancer", status["loadbalancer"]))
    needed = status["storage"].get("needed") and any(server["pid"] for server in servers)
    if status["storage"]["pid"] or status["storage"]["reason"] or needed:
        parts.append(("Storage", status["storage"]))
    return parts


def _show_part(title: str, part: dict[str, Any]) -> None:
    where = _where(part)
    listening = bool(part["pid"]) and part.get("listening", True)
    mark(f"{title} status", "[UP]" if listening else "[DOWN]")
    running = f"Running (pid {part['pid']})" if part["pid"] else "Not running"
    line(
        f"{running}, {f'Listening ({where})' if listening and where else 'Listening' if listening else 'Not listening'}"
    )
    if "attached" in part and (seen := words_of(part)):
        line(f"* {seen}")
    if part.get("several_releases") and part.get("release"):
        line(f"* Release {part['release']}")
    if part.get("ordinary"):
        line(f"* Started the ordinary way: {part['ordinary']}")
    for pid in part.get("leaving", ()):
        line(f"* Its predecessor finishes its requests (pid {pid})")
    if part["reason"]:
        line(f"* {part['state'].capitalize()}: {part['reason']}")
    line()


def _where(part: dict[str, Any]) -> str:
    if "socket" in part:
        return f"socket {part['socket']}"
    if "ports" in part:
        return f"port {', '.join(part['ports'])}" if part["ports"] else ""
    return f"port {part['host']}:{part['port']}" if "port" in part else ""
