"""How a verb is made: it takes `-v` and the client of its home, and returns its exit code."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from zenwebserver import __version__
from zenwebserver.cli import output
from zenwebserver.client.client import Client
from zenwebserver.client.displaced import homelessness
from zenwebserver.errors import INTERRUPTED, Exit
from zenwebserver.finding import find

INTERRUPTED_WORDS = (
    "Interrupted: what had begun goes on, what still waited is not done. To see how it stands: zenwebserver status"
)
FOREGROUND = ("run", "debug")  # their work ends with the command


class InOrder(click.Group):
    """Lists the verbs in the order of an admin's work; one that has no place there comes last."""

    ORDER = (
        *("init", "start", "stop", "restart", "status", "deploy", "attach", "detach"),
        *("configure", "verify", "reload", "run", "debug"),
    )

    def list_commands(self, ctx: click.Context) -> list[str]:
        placed = [name for name in self.ORDER if name in self.commands]
        return [*placed, *(name for name in self.commands if name not in placed and name != "help"), "help"]


@click.group(cls=InOrder, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="zenwebserver")
@click.option("-v", "--verbose", is_flag=True, help="Say more.")
@click.pass_context
def cli(context: click.Context, verbose: bool) -> None:
    """Runs a pool of Zope servers behind an nginx load balancer.

    TARGETS: loadbalancer (or nginx), servers, server2 (or 2), storage; several at once; none means all.
    The home is $ZENHOME; else, where the command is called by its name in a home's bin folder, that home; else
    $XDG_DATA_HOME/zenwebserver (~/.local/share/zenwebserver).
    """
    context.obj = verbose


def verb(name: str, **settings: Any) -> Callable[[Callable[..., Exit]], click.Command]:
    """A verb: takes `-v` too, gets the client first, returns its exit code."""

    def decorate(function: Callable[..., Exit]) -> click.Command:
        @click.option("-v", "--verbose", is_flag=True, help="Say more.")
        @click.pass_context
        def command(context: click.Context, /, verbose: bool, **what: Any) -> None:
            if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
                signal.signal(signal.SIGINT, signal.default_int_handler)  # from now on something may have begun
            try:
                found = find(os.environ, Path(sys.argv[0]))
                sys.exit(function(Client(found.home, found.whence), verbose=verbose or bool(context.obj), **what))
            except KeyboardInterrupt:  # click would say that it was aborted, which is not so
                if name not in FOREGROUND:
                    output.err.print(INTERRUPTED_WORDS)
                sys.exit(INTERRUPTED)

        command.__doc__ = function.__doc__
        for parameter in getattr(function, "__click_params__", []):
            command.__click_params__.append(parameter)  # type: ignore[attr-defined]
        return cli.command(name, **settings)(command)

    return decorate


targets_argument = click.argument("targets", nargs=-1)


force_option = click.option("--force", is_flag=True, help="Also where files of the home lead into another one.")


def prepare(client: Client, *, force: bool) -> None:
    """What works in a home needs one; with `force`, what leads into another is meant. Raises ZenwebserverError."""
    need_home(client)
    if force and do(client, "accept", verbose=False) is not Exit.DONE:
        sys.exit(Exit.FAILED)


def do(client: Client, name: str, *, verbose: bool, **what: Any) -> Exit:
    """Have it done, show how it goes, return its exit code."""
    return output.close(output.follow(client.operate(name, **what), verbose=verbose))


def refuse_homeless(client: Client) -> None:
    """Raises ZenwebserverError where a supervisor runs whose home is gone: nothing can be asked of it."""
    if error := homelessness(client.home):
        raise error


def need_home(client: Client) -> None:
    """Raises UsageError where there is none, ZenwebserverError where it is gone and its supervisor still runs."""
    refuse_homeless(client)
    if not client.home.exists() and not client.is_supervised():
        raise client.home.missing(client.whence)
