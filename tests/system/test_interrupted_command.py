"""A command may go away; what it asked for is done all the same, and the next one waits for it."""

from __future__ import annotations

import signal
import subprocess

import pytest
from harness import COMMAND_SECONDS, Site, wait_until
from load import Load
from product import Product
from seen import stored


@pytest.fixture
def product(site: Site) -> Product:
    """Of a running site."""
    product = Product(site.use("store"))
    site.ok("start")
    return product


def test_a_restart_whose_command_was_interrupted_is_finished_and_the_next_change_waits(
    site: Site, product: Product
) -> None:
    before = {site.pid("zope1"), site.pid("zope2")}
    with Load(site.port, clients=4) as load, product.waits() as gate:
        load.wait_for(20)
        restart = site.popen("restart", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert restart.stdout
        first = restart.stdout.readline()  # a step has ended
        assert "Restarting Load balancer" in first
        restart.send_signal(signal.SIGINT)
        assert "goes on" in restart.communicate(timeout=COMMAND_SECONDS)[1]
        assert restart.returncode == 130

        second = site.popen("detach", "2", stdout=subprocess.PIPE)
        assert second.stdout
        assert "Waiting for: restart" in second.stdout.readline()
        assert before == {site.pid("zope1"), site.pid("zope2")}
        gate.unlink()
        assert "Detached" in second.communicate(timeout=COMMAND_SECONDS)[0]
        assert before.isdisjoint({site.pid("zope1"), site.pid("zope2")})
        assert site.ok("status", "-v").out.count("[UP]") == 4
        load.wait_for(20)
    assert load.outcome.failures == []
    assert stored(site) == dict.fromkeys(load.outcome.stored, 1)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_a_command_that_ends_while_it_waits_is_not_done(site: Site, product: Product, end: signal.Signals) -> None:
    with product.waits() as gate:
        restart = site.popen("restart", "servers", stdout=subprocess.DEVNULL)
        wait_until(lambda: "Begin: restart" in site.log(), "it has begun")
        stop = site.popen("stop", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert stop.stdout
        assert "Waiting for: restart" in stop.stdout.readline()
        stop.send_signal(end)
        words = stop.communicate(timeout=COMMAND_SECONDS)[1]
        assert end is signal.SIGKILL or "what still waited is not done" in words
        wait_until(lambda: "Withdrawn: stop" in site.log(), "the supervisor has noticed")
        gate.unlink()
        assert restart.wait(COMMAND_SECONDS) == 0
    assert site.ok("status", "-v").out.count("[UP]") == 4
    assert "Begin: stop" not in site.log()


def test_reading_commands_do_not_wait_for_a_change(site: Site, product: Product) -> None:
    with product.waits() as gate:
        restart = site.popen("restart", stdout=subprocess.DEVNULL)
        wait_until(lambda: "Begin: restart" in site.log(), "it has begun")
        assert site.ok("status").out.startswith("program running")
        assert restart.poll() is None
        gate.unlink()
        assert restart.wait(COMMAND_SECONDS) == 0
