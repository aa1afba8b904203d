"""A command may go away; what it asked for is done all the same, and the next one waits for it."""

from __future__ import annotations

import signal
import subprocess

from harness import Site, wait_until
from load import Load
from seen import stored


def test_a_restart_whose_command_was_interrupted_is_finished_and_the_next_change_waits(running: Site) -> None:
    before = {running.pid("zope1"), running.pid("zope2")}
    with Load(running.port, clients=4) as load:
        load.wait_for(20)
        restart = running.popen("restart", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert restart.stdout
        first = restart.stdout.readline()  # a step has ended
        assert "Restarting Load balancer" in first
        restart.send_signal(signal.SIGINT)
        assert restart.wait(20) == 130
        assert "goes on" in restart.communicate()[1]

        second = running.ok("detach", "2").out
        assert "Waiting for: restart" in second
        assert before.isdisjoint({running.pid("zope1"), running.pid("zope2")})
        assert running.ok("status", "-v").out.count("[UP]") == 4
        load.wait_for(20)
    assert load.outcome.failures == []
    assert stored(running) == dict.fromkeys(load.outcome.stored, 1)


def test_reading_commands_do_not_wait_for_a_change(running: Site) -> None:
    restart = running.popen("restart", stdout=subprocess.DEVNULL)
    wait_until(lambda: restart.poll() is not None or "Begin: restart" in running.log(), "it has begun")
    assert running.ok("status", timeout=5).out.startswith("program running")
    assert restart.wait(60) == 0
