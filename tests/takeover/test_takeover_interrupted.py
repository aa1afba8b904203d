"""Install and uninstall that end in the middle, by an error or by kill -9, and are repeated."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from zenoss_home import Site, make_site

from zenwebserver.takeover import install, uninstall

Snapshot = dict[str, tuple[int, object]]
INSTALL_STEPS = ("Linking bin/zenwebserver", "Switching etc/daemons.txt", "Stopping bin/zopectl")
UNINSTALL_STEPS = (
    "Putting back etc/daemons.txt",
    "Removing bin/zenwebserver",
    "Removing what configure made",
    "Removing the record of the installation",
)


class Interrupted(Exception):
    pass


def act(site: Site, what: str, steps: Callable[[str], object] | None = None) -> None:
    following = steps or site.steps
    if what == "install":
        install(
            site.home,
            command=site.command,
            steps=following,  # type: ignore[arg-type]
            configure=site.configure,
            products=site.products,
        )
    else:
        uninstall(site.home, steps=following)  # type: ignore[arg-type]


def timeless(snapshot: Snapshot) -> Snapshot:
    """Without times of change, and without the record, which holds the originals' and how it went."""
    return {
        name: (mode, content[0] if isinstance(content, tuple) else content)
        for name, (mode, content) in snapshot.items()
        if "zenwebserver-install/" not in name
    }


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", INSTALL_STEPS + UNINSTALL_STEPS)
def test_an_error_at_a_step_and_a_repetition_come_to_the_same_end(site: Site, step: str, when: str) -> None:
    @contextmanager
    def interrupting(what: str) -> Iterator[None]:
        if (what, when) == (step, "before"):
            raise Interrupted
        yield
        if what == step:
            raise Interrupted

    before = site.snapshot()
    if step in UNINSTALL_STEPS:
        act(site, "install")
        with pytest.raises(Interrupted):
            act(site, "uninstall", interrupting)
    else:
        site.zopectl("start")
        with pytest.raises(Interrupted):
            act(site, "install", interrupting)
        act(site, "install")
        assert site.zopectl("status") == "daemon manager not running"
        assert b"zenwebserver" in (site.home.etc / "daemons.txt").read_bytes()
    act(site, "uninstall")
    assert site.snapshot() == before
    act(site, "uninstall")
    assert site.snapshot() == before


# Every way in which this room changes the disk, by the names of Python's audit events.
CHANGES = {
    "os.mkdir",
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.symlink",
    "os.chmod",
    "os.chown",
    "os.utime",
    "shutil.rmtree",
}


def killed(site: Site, what: str, at: int) -> bool:
    """Whether a process that does `what` was killed (-9) before its change number `at`: it may have fewer."""
    seen = 0

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        opened = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if event in CHANGES or (opened and str(site.home.path) in str(arguments[0])):
            seen += 1
            if seen == at:
                os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        code = 1
        try:
            sys.addaudithook(count)
            act(site, what)
            code = 0
        finally:
            os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL)
    return status != 0


@pytest.mark.parametrize("bare", [False, True], ids=["home", "home without var and bin"])
def test_install_killed_before_any_of_its_changes_is_repeated_or_undone_to_the_same_end(
    tmp_path: Path, bare: bool
) -> None:
    folder = tmp_path / "whole"
    folder.mkdir()
    whole = make_bare(folder) if bare else make_site(folder)
    act(whole, "install")
    end = timeless(whole.snapshot())
    at, was_killed = 0, True
    while was_killed:
        at += 1
        for then in ("install", "uninstall"):
            folder = tmp_path / f"{at}-{then}"
            folder.mkdir()
            site = make_bare(folder) if bare else make_site(folder)
            before = site.snapshot()
            was_killed = killed(site, "install", at)
            if then == "install":
                act(site, "install")
                found = timeless(site.snapshot())
                assert linkless(found) == linkless(end), at
            act(site, "uninstall")
            assert site.snapshot() == before, at
    assert at > 30


@pytest.mark.parametrize("bare", [False, True], ids=["home", "home without var and bin"])
def test_uninstall_killed_before_any_of_its_changes_is_repeated_to_the_same_end(tmp_path: Path, bare: bool) -> None:
    at, was_killed = 0, True
    while was_killed:
        at += 1
        folder = tmp_path / str(at)
        folder.mkdir()
        site = make_bare(folder) if bare else make_site(folder)
        before = site.snapshot()
        act(site, "install")
        was_killed = killed(site, "uninstall", at)
        act(site, "uninstall")
        assert site.snapshot() == before, at
    assert at > 10


def make_bare(folder: Path) -> Site:
    site = make_site(folder, script=None)
    (site.home.path / "bin/zopectl").unlink()
    (site.home.path / "bin").rmdir()
    site.home.var.rmdir()
    return site


def linkless(snapshot: Snapshot) -> Snapshot:
    """The link points into another temporary folder each time."""
    return {name: (mode, None if name == "bin/zenwebserver" else content) for name, (mode, content) in snapshot.items()}
