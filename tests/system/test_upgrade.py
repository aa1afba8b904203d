"""`upgrade`: at no time is a home without its one supervisor, whatever becomes of the next one, and nobody notices."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest
from harness import Site, wait_until
from load import Load
from seen import pids
from warm import assert_all_stored_once, is_back, zygotes

from zenwebserver.machine.identity import Identity

PARTS = ("zope1", "zope2", "storage", "nginx")


SITE = "warm"


@pytest.fixture
def site(shared: Site) -> Site:
    return shared


class NextSupervisor:
    """Breaks or holds up whatever supervisor is started as a successor: by a sitecustomize in the site's own folder."""

    MODULE = """
import asyncio, os, sys, time
from pathlib import Path

HERE = Path({here!r})

if "--succeed" in sys.orig_argv:
    (HERE / "loading").touch()
    while (HERE / "hold loading").exists():
        time.sleep(0.02)
    {loading}
    import zenwebserver.supervisor.adoption as adoption
    former = adoption.adopt

    async def adopt(supervisor):
        (HERE / "adopting").touch()
        while (HERE / "hold adopting").exists():
            await asyncio.sleep(0.02)
        {adopting}
        await former(supervisor)

    adoption.adopt = adopt
"""

    def __init__(self, site: Site, folder: Path) -> None:
        self._module = site.home / "lib" / "sitecustomize.py"
        self._folder = folder

    def does(self, *, loading: str = "", adopting: str = "", held: Sequence[str] = ()) -> None:
        """Do this when it loads, or has been given its turn and adopts, which is `held` until `let` go."""
        self._module.write_text(self.MODULE.format(here=str(self._folder), loading=loading, adopting=adopting))
        for step in held:
            (self._folder / f"hold {step}").touch()

    def comes_to(self, step: str) -> None:
        wait_until((self._folder / step).exists, f"it is {step}")

    def let(self, step: str) -> None:
        (self._folder / f"hold {step}").unlink()

    def mend(self) -> None:
        self._module.unlink(missing_ok=True)


@pytest.fixture
def successor(site: Site, tmp_path: Path) -> Iterator[NextSupervisor]:
    it = NextSupervisor(site, tmp_path)
    yield it
    it.mend()


def supervisors(site: Site) -> list[psutil.Process]:
    found = []
    for process in site.processes():
        with contextlib.suppress(psutil.Error):
            if "zenwebserver.supervisor" in process.cmdline():
                found.append(process)
    return found


def assert_all_is_well(site: Site, before: dict[str, int]) -> None:
    """One supervisor, which is found, watches, forks and hands over; what ran before runs on."""
    assert [each.pid for each in supervisors(site)] == [site.pid("supervisor")]
    assert pids(site, *PARTS) == before
    assert site.ok("status", "-v").out.count("[UP]") == 4
    killed = site.kill("zope1")
    wait_until(lambda: is_back(site, 1, killed), "server 1 is back")
    site.ok("restart", "servers")
    wait_until(lambda: len(zygotes(site)) == 1, "the former release has ended")


def test_nothing_of_the_pool_is_touched_and_no_request_fails(site: Site) -> None:
    before, former = pids(site, *PARTS), site.pid("supervisor")
    with Load(site.port, clients=4, pause=0.01) as load:
        load.wait_for(20)
        for _ in range(3):
            ran = site.ok("upgrade", "-v")
            assert ran.out.splitlines()[-1] == "Upgraded"
            assert ran.out.count("[OK]") == 2
            assert Identity.of(former) is None, "the command returns when the former one has ended"
            former = site.pid("supervisor")
            load.wait_for(20)
    assert load.outcome.failures == []
    assert_all_stored_once(site, load.outcome.stored)
    assert_all_is_well(site, before)


@pytest.mark.parametrize("fault", ["raise SystemExit('it is broken')", "os.write(2, b'it is broken'); os._exit(3)"])
def test_a_successor_that_cannot_load_leaves_the_former_one_which_says_why(
    site: Site, successor: NextSupervisor, fault: str
) -> None:
    before, former = pids(site, *PARTS), site.pid("supervisor")
    successor.does(loading=fault)
    with Load(site.port, clients=4, pause=0.01) as load:
        load.wait_for(20)
        ran = site.run("upgrade")
        assert ran.code == 1
        assert "The new supervisor did not take over" in ran.err
        assert "it is broken" in ran.err
        load.wait_for(20)
    assert load.outcome.failures == []
    assert site.pid("supervisor") == former
    assert_all_is_well(site, before)


@pytest.mark.parametrize("fault", ["raise RuntimeError('cannot adopt')", "os.write(2, b'cannot adopt'); os._exit(3)"])
def test_a_successor_that_fails_once_the_former_one_has_let_go_leaves_it_working_again(
    site: Site, successor: NextSupervisor, fault: str
) -> None:
    before, former = pids(site, *PARTS), site.pid("supervisor")
    successor.does(adopting=fault)
    with Load(site.port, clients=4, pause=0.01) as load:
        load.wait_for(20)
        ran = site.run("upgrade", "-v")
        assert ran.code == 1
        assert "Handing over".ljust(50) + "[FAIL]" in ran.out
        assert "cannot adopt" in ran.err
        load.wait_for(20)
    assert load.outcome.failures == []
    assert site.pid("supervisor") == former
    assert_all_is_well(site, before)
    # Nothing is left of its former life that listens with nobody behind it.
    site.ok("stop", "2")
    with pytest.raises(ConnectionRefusedError):
        site.get("/who", port=site.server_port(2))
    site.ok("start", "2")
    successor.mend()
    site.ok("upgrade")
    assert site.pid("supervisor") != former


@pytest.mark.parametrize("step", ["loading", "adopting"])
def test_where_the_former_one_is_killed_in_the_middle_the_successor_goes_on_alone(
    site: Site, successor: NextSupervisor, step: str
) -> None:
    before, former = pids(site, *PARTS), site.pid("supervisor")
    successor.does(held=[step])
    upgrading = site.popen("upgrade", stderr=subprocess.PIPE)
    successor.comes_to(step)
    os.kill(former, signal.SIGKILL)
    assert upgrading.wait(30) == 1
    assert "went away" in upgrading.communicate()[1]
    successor.let(step)
    assert "It runs already" in site.ok("start").out
    assert site.pid("supervisor") != former
    assert_all_is_well(site, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_upgrade_whose_command_goes_away_goes_on_to_its_end(
    site: Site, successor: NextSupervisor, number: signal.Signals
) -> None:
    before, former = pids(site, *PARTS), site.pid("supervisor")
    successor.does(held=["loading"])
    upgrading = site.popen("upgrade", stderr=subprocess.DEVNULL)
    successor.comes_to("loading")
    upgrading.send_signal(number)
    assert upgrading.wait(30) != 0
    successor.let("loading")
    wait_until(lambda: Identity.of(former) is None, "the former one has ended")
    assert_all_is_well(site, before)


def test_of_two_upgrades_at_once_each_exchanges_the_supervisor(site: Site) -> None:
    before, former = pids(site, *PARTS), site.pid("supervisor")
    upgrades = [site.popen("upgrade", stdout=subprocess.PIPE) for _ in range(2)]
    assert [each.wait(60) for each in upgrades] == [0, 0]
    said = [each.communicate()[0] for each in upgrades]
    assert all(each.splitlines()[-1] == "Upgraded" for each in said)
    assert site.pid("supervisor") != former
    assert_all_is_well(site, before)


@pytest.mark.parametrize("fault", ["", "os._exit(3)"])
def test_commands_that_are_typed_meanwhile_are_done_by_whoever_supervises_then(
    site: Site, successor: NextSupervisor, fault: str
) -> None:
    before = pids(site, *PARTS)
    successor.does(adopting=fault, held=["loading", "adopting"])
    upgrading = site.popen("upgrade", stderr=subprocess.DEVNULL)
    successor.comes_to("loading")
    waits = site.popen("start", stdout=subprocess.PIPE)
    assert waits.stdout
    assert waits.stdout.readline() == "Waiting for: upgrade\n"
    successor.let("loading")
    successor.comes_to("adopting")
    late = site.popen("detach", "2")
    assert site.ok("status").out.startswith("program running")  # it does not wait for what is held
    successor.let("adopting")
    assert (waits.wait(60), late.wait(60)) == (0, 0)
    assert "It runs already" in waits.communicate()[0]
    assert upgrading.wait(60) == (1 if fault else 0)
    assert "* Detached" in site.ok("status", "-v").out
    site.ok("attach", "2")
    assert_all_is_well(site, before)


def test_a_signal_to_stop_that_comes_meanwhile_is_obeyed_by_the_successor(
    site: Site, successor: NextSupervisor
) -> None:
    former = site.pid("supervisor")
    successor.does(held=["adopting"])
    upgrading = site.popen("upgrade")
    successor.comes_to("adopting")
    os.kill(former, signal.SIGTERM)
    os.kill(former, signal.SIGTERM)
    successor.let("adopting")
    assert upgrading.wait(60) == 0
    wait_until(lambda: not site.processes(), "everything has stopped")
    successor.mend()
    site.ok("start")


def test_a_full_disk_leaves_a_supervisor(site: Site) -> None:
    run = site.home / "var" / "run"
    site.ok("stop")
    command = ["mount", "-t", "tmpfs", "-o", "size=64k,nr_inodes=20,mode=700", "none", str(run)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        site.ok("start")
        pytest.skip("mounting a file system is not allowed here")
    try:
        site.ok("start")
        fillers = list(fill(run))
        ran = site.run("upgrade")
        assert "Traceback" not in ran.err
        assert len(supervisors(site)) == 1
        assert site.ok("status", "-v").out.count("[UP]") == 4
        for path in fillers:
            path.unlink()
        before = pids(site, *PARTS)
        site.ok("upgrade")
        assert_all_is_well(site, before)
        site.ok("stop")
        wait_until(lambda: not site.processes(), "nothing is left")
    finally:
        subprocess.run(["umount", "--lazy", str(run)], check=True)
    site.ok("start")


def fill(folder: Path) -> Iterator[Path]:
    """No byte, and no file, has room there any more."""
    with contextlib.suppress(OSError):
        for number in range(100):
            path = folder / f"filler{number}"
            path.touch()
            yield path
            path.write_bytes(b"\0" * 65536)
