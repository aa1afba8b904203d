"""install and uninstall: become the web server's control script of a home that has another one, and undo it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from zenwebserver import takeover
from zenwebserver.cli import output
from zenwebserver.cli.verbs import do, verb
from zenwebserver.client.client import Client
from zenwebserver.errors import Exit, ZenwebserverError
from zenwebserver.home import Home
from zenwebserver.takeover import Kind, Product

# Servers whose logs `uninstall` removes, where there were none before: maxServers by default.
LOGGED_SERVERS = 30


@verb("install")
@click.option("--startup-script", type=click.Path(path_type=Path), help="Instead of $ZENHOME/bin/zenoss.")
@click.option("--force", is_flag=True, help="Also where several Zope servers are listed, after a planned migration.")
def install(client: Client, *, verbose: bool, startup_script: Path | None, force: bool) -> Exit:
    """Become the web server's control script of a Zenoss-like home, in place of zopectl."""
    del verbose
    done = takeover.install(
        client.home,
        command=Path(sys.argv[0]).absolute(),
        startup_script=startup_script,
        force=force,
        steps=_step,
        configure=lambda: _configure(client),
        products=products(client.home),
    )
    for note in done.notes:
        output.line(note)
    output.line(f"{'It is installed already' if done.already else 'Installed'}: {done.place}")
    return Exit.DONE


@verb("uninstall")
def uninstall(client: Client, *, verbose: bool) -> Exit:
    """Stop the pool, put back what `install` changed, and remove what it made."""
    del verbose
    done = takeover.uninstall(client.home, steps=_step, stop_pool=lambda: _stop(client))
    for note in done.notes:
        output.line(note)
    if not done.already:
        output.line("Uninstalled")
    return Exit.DONE


def products(home: Home) -> tuple[Product, ...]:
    """What `configure` and the pool make in a home that had none of it."""
    generated = (home.nginx_conf, home.nginx_pool_conf)
    names = [str(number) for number in range(1, LOGGED_SERVERS + 1)]
    logs = [home.supervisor_log, home.storage_log, home.zygote_log, *(home.server_log(name) for name in names)]
    return (
        *(Product(path, Kind.GENERATED) for path in generated),
        *(Product(path.with_name(f"{path.name}.prev"), Kind.GENERATED) for path in generated),
        *(Product(path, Kind.GENERATED) for path in logs if not path.exists()),
        *(Product(path, Kind.EDITABLE) for path in (home.settings_file, home.nginx_template, home.error_page)),
        *(Product(path, Kind.EDITABLE) for path in (home.zope_conf, home.zope_ini, home.etc / "site.zcml")),
        Product(home.path / "inituser", Kind.EDITABLE),
        Product(home.nginx_pid, Kind.GENERATED),
        *(Product(folder, Kind.TREE) for folder in (home.pool_folder, home.nginx_var, home.run, home.nginx_log)),
        *(Product(home.client_home(name), Kind.FOLDER) for name in names),
        *(Product(folder, Kind.FOLDER) for folder in (home.var / "filestorage", home.html, home.log)),
        Product(home.var / "cache", Kind.TREE),
    )


@contextlib.contextmanager
def _step(what: str) -> Iterator[None]:
    try:
        yield
    except BaseException:
        output.mark(what, "[FAIL]")
        raise
    output.mark(what, "[OK]")


def _configure(client: Client) -> None:
    if not client.home.exists():
        _must_succeed(do(client, "init", verbose=True))
    _must_succeed(do(client, "configure", verbose=True))


def _stop(client: Client) -> None:
    if client.runs_something():
        _must_succeed(do(client, "stop", verbose=True))
        client.wait_for_end()


def _must_succeed(code: Exit) -> None:
    if code is not Exit.DONE:
        raise ZenwebserverError("It goes on from here when it is repeated")
