"""start, stop, restart, status."""

from __future__ import annotations

import click

from zenwebserver.cli import output
from zenwebserver.cli.condition import condition
from zenwebserver.cli.verbs import cli, do, force_option, need_home, prepare, targets_argument, verb
from zenwebserver.client.client import Client
from zenwebserver.client.displaced import displacement, homelessness
from zenwebserver.errors import Exit, UsageError, ZenwebserverError
from zenwebserver.pool import Pool, load, parse_targets


@verb("start")
@targets_argument
@force_option
def start(client: Client, *, verbose: bool, targets: tuple[str, ...], force: bool) -> Exit:
    """Start storage, servers and load balancer; returns when they answer."""
    prepare(client, force=force)
    return do(client, "start", verbose=verbose, targets=targets)


@verb("stop")
@targets_argument
def stop(client: Client, *, verbose: bool, targets: tuple[str, ...]) -> Exit:
    """Stop the load balancer, then the servers (drained), then storage."""
    if not client.runs_something():
        need_home(client)
        if targets:
            parse_targets(targets, _deployed(client))
        output.line("It is stopped already")
        return Exit.DONE
    code = do(client, "stop", verbose=verbose, targets=targets)
    client.wait_for_end()
    return code


@verb("restart")
@targets_argument
@force_option
def restart(client: Client, *, verbose: bool, targets: tuple[str, ...], force: bool) -> Exit:
    """Exchange the load balancer, then each server in turn, without a failed request."""
    del verbose
    prepare(client, force=force)
    return do(client, "restart", verbose=True, targets=targets)


@verb("status")
@targets_argument
@click.option("--json", "as_json", is_flag=True, help="All that is known, as JSON.")
def status(client: Client, *, verbose: bool, targets: tuple[str, ...], as_json: bool) -> Exit:
    """Show what runs; the exit code is 0 when all that is asked for does."""
    state = client.status()
    if state is None:
        state = client.status_elsewhere() or client.left_behind()
        if error := homelessness(client.home):
            output.show_error(error)
        elif client.is_supervised():
            output.show_error(client.silence())
        elif client.runs_something():
            output.err.print("The supervisor is not running; to take over what runs: zenwebserver start")
        elif not client.home.exists():
            output.show_error(client.home.missing(client.whence))
        else:
            _say_what_cannot_be_read(client)
    elif error := displacement(state):
        output.show_error(error)
    if as_json:
        output.show_json(state)
        return Exit.DONE if condition(state).complete else Exit.FAILED
    named = None
    if targets:
        wanted = parse_targets(targets, _deployed(client))
        servers = {f"Server {number}" for number in wanted.servers}
        everything = [*output.parts_of(state), ("Storage", state["storage"])]
        named = [
            (title, part)
            for title, part in dict(everything).items()
            if title in servers
            or (title == "Load balancer" and wanted.loadbalancer)
            or (title == "Storage" and wanted.storage)
        ]
    return output.show_status(state, verbose=verbose, named=named)


def _say_what_cannot_be_read(client: Client) -> None:
    try:
        _deployed(client)
    except ZenwebserverError as error:
        output.show_error(error)


def _deployed(client: Client) -> Pool:
    return load(client.home.pool_record)


@verb("threads")
@click.argument("server")
def threads(client: Client, *, verbose: bool, server: str) -> Exit:
    """Show what each thread of a server does now: its request, for how long, its stack."""
    del verbose
    need_home(client)
    for number in parse_targets([server], _deployed(client), allowed=("servers",)).servers:
        output.show_threads(client.threads(number))
    return Exit.DONE


@verb("upgrade")
def upgrade(client: Client, *, verbose: bool) -> Exit:
    """Replace the supervisor by the one that is installed now; servers and nginx go on meanwhile."""
    if client.status() is None:
        if client.is_supervised():
            raise client.silence()
        need_home(client)
        output.line("The supervisor is not running")
        return Exit.FAILED
    return output.close(output.follow(client.upgrade(), verbose=verbose))


@cli.command("help")
@click.argument("command", required=False)
@click.pass_context
def help_(context: click.Context, command: str | None) -> None:
    """Show how zenwebserver, or one of its commands, is used."""
    assert context.parent
    if command is None:
        click.echo(context.parent.get_help())
        return
    found = cli.get_command(context, command)
    if found is None:
        raise UsageError(f"No such command: {command}", hint=f"Commands: {', '.join(cli.list_commands(context))}")
    with click.Context(found, info_name=command, parent=context.parent) as of_command:
        click.echo(found.get_help(of_command))
