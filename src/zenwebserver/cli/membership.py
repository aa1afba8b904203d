"""deploy, attach, detach."""

from __future__ import annotations

import sys

import click

from zenwebserver.cli import output
from zenwebserver.cli.verbs import do, force_option, need_home, prepare, targets_argument, verb
from zenwebserver.client.client import Client
from zenwebserver.errors import Exit


@verb("deploy", context_settings={"ignore_unknown_options": True})
@click.argument("size", metavar="{n|+n|-n}")
@click.option("--yes", is_flag=True, help="Also above maxServers.")
@force_option
def deploy(client: Client, *, verbose: bool, size: str, yes: bool, force: bool) -> Exit:
    """Have exactly n servers, n more, or n fewer; never fewer than one."""
    del verbose
    prepare(client, force=force)
    last = output.follow(client.operate("deploy", size=size, above_maximum=yes), verbose=True)
    if last.get("ask") and sys.stdin.isatty() and sys.stdout.isatty() and click.confirm(f"{last['error']}. Go on?"):
        last = output.follow(client.operate("deploy", size=size, above_maximum=True), verbose=True)
    return output.close(last)


@verb("attach")
@targets_argument
def attach(client: Client, *, verbose: bool, targets: tuple[str, ...]) -> Exit:
    """Put servers back into the pool."""
    del verbose
    need_home(client)
    return do(client, "attach", verbose=True, targets=targets)


@verb("detach")
@targets_argument
@click.option("--force", is_flag=True, help="Also the last one; visitors then get the 50x page.")
def detach(client: Client, *, verbose: bool, targets: tuple[str, ...], force: bool) -> Exit:
    """Take servers out of the pool; they go on running and are reached by their own ports."""
    del verbose
    need_home(client)
    return do(client, "detach", verbose=True, targets=targets, force=force)
