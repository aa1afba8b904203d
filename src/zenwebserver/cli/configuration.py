"""init, configure, verify, reload."""

from __future__ import annotations

import click

from zenwebserver.cli.verbs import do, force_option, need_home, prepare, verb
from zenwebserver.client.client import Client
from zenwebserver.errors import Exit, UsageError, ZenwebserverError
from zenwebserver.home import Home


@verb("init")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting of the new home; may be repeated.",
)
@click.option("--quiet", is_flag=True, help="Where the home is there already, do nothing and say nothing.")
@click.option("--force", is_flag=True, help="Also in a folder that holds something else.")
def init(client: Client, *, verbose: bool, assignments: tuple[str, ...], quiet: bool, force: bool) -> Exit:
    """Make a home without starting it."""
    if quiet and client.home.exists():
        return Exit.DONE
    values = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals:
            raise UsageError(f"Not KEY=VALUE: {assignment}")
        values[key.strip()] = value.strip()
    if not client.home.exists():
        if not force:
            client.home.refuse_strangers()
        refuse_wrong(values, client.home)
    return do(client, "init", verbose=verbose, values=values)


def refuse_wrong(values: dict[str, str], home: Home) -> None:
    """Before a supervisor makes folders for a home that is not to be. Raises UsageError."""
    from zenwebserver import settings  # what only `init` needs would make every other command slower
    from zenwebserver.nginx import config

    settings.first_text(values, home.path, config.variables(config.shipped_template()))


@verb("configure")
@force_option
def configure(client: Client, *, verbose: bool, force: bool) -> Exit:
    """Write etc/nginx.conf from the template and the settings, once nginx has verified it."""
    del verbose
    prepare(client, force=force)
    return do(client, "configure", verbose=True)


@verb("verify")
def verify(client: Client, *, verbose: bool) -> Exit:
    """Check settings, template and nginx's configuration; change nothing."""
    del verbose
    need_home(client)
    return do(client, "verify", verbose=True)


@verb("reload")
def reload(client: Client, *, verbose: bool) -> Exit:
    """Verify, then have nginx read its configuration again."""
    del verbose
    if not client.runs_something():
        need_home(client)
        raise ZenwebserverError("The load balancer is not running", hint="To start it: zenwebserver start")
    return do(client, "reload", verbose=True)
