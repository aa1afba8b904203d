"""Nobody who visits the site notices what an admin does to it."""

from __future__ import annotations

from harness import Site
from load import Load
from seen import stored


def test_no_request_fails_while_the_pool_is_changed(running: Site) -> None:
    steps = ["restart", "deploy +2", "deploy -2", "detach 1", "attach 1", "reload", "restart server2", "restart nginx"]
    with Load(running.port, clients=8) as load:
        load.wait_for(50)
        for step in steps:
            running.ok(*step.split())
            load.wait_for(50)
    assert load.outcome.failures == []
    assert load.outcome.stored
    assert stored(running) == dict.fromkeys(load.outcome.stored, 1)
