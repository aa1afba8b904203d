"""What the command says: under -v and without it, to whom, and its help."""

from __future__ import annotations

import re

import pytest
from harness import Site

import zenwebserver

STEP = re.compile(r"[^\[]{50}\[(OK|FAIL)\]|[^\[]{51,} ?\[(OK|FAIL)\]")
VERBS = {"init", "start", "stop", "restart", "status", "deploy", "reload", "attach", "detach", "run", "debug", "help"}
VERBS |= {"configure", "verify", "install", "uninstall"}


def steps(text: str) -> list[str]:
    """The steps of an output; their word stands in its column."""
    found = [line for line in text.splitlines() if line.endswith(("[OK]", "[FAIL]"))]
    assert all(STEP.fullmatch(line) for line in found), text
    return [re.sub(r" *\[(OK|FAIL)\]$", "", line) for line in found]


def test_minus_v_stands_anywhere_and_shows_each_step(shared: Site) -> None:
    for number, words in enumerate((["-v", "stop", "2"], ["stop", "-v", "2"], ["stop", "2", "-v"])):
        ran = shared.ok(*words)
        assert "Stopping Server 2" in steps(ran.out), ran
        started = shared.ok(*[["start", "-v", "2"], ["start", "2", "--verbose"], ["--verbose", "start", "2"]][number])
        assert "Starting Server 2" in steps(started.out)
    ran = shared.ok("deploy", "-v", "+1")
    assert "Deploying Server 3" in steps(ran.out)
    ran = shared.ok("-v", "deploy", "-1")
    assert "Removing Server 3" in steps(ran.out)


def test_without_it_start_and_stop_say_a_line_or_two(shared: Site) -> None:
    try:
        assert shared.ok("stop").out == "Stopped\n"
        assert shared.ok("stop").out == "It is stopped already\n"
    finally:
        ran = shared.ok("start")
    assert ran.out == f"Started: http://127.0.0.1:{shared.port}/\n"
    again = shared.ok("start")
    assert (again.out, again.err) == (f"It runs already: http://127.0.0.1:{shared.port}/\n", "")


def test_stop_with_minus_v_goes_from_the_front_to_the_back(shared: Site) -> None:
    try:
        said = steps(shared.ok("stop", "-v").out)
        parts = [step for step in said if step.startswith("Stopping")]
        assert parts[0] == "Stopping Load balancer"
        assert set(parts[1:3]) == {"Stopping Server 1", "Stopping Server 2"}
        assert parts[3] == "Stopping Storage"
    finally:
        said = steps(shared.ok("-v", "start").out)
    assert said[0] == "Starting Storage"
    assert said[-1] == "Starting Load balancer"


def test_what_changes_a_running_site_speaks_without_minus_v(shared: Site) -> None:
    said = {
        command: steps(shared.ok(*command.split()).out)
        for command in ("restart", "reload", "deploy 3", "deploy 2", "detach 2", "attach 2", "configure", "verify")
    }
    assert said["restart"][0] == "Restarting Load balancer"
    assert said["restart"][-2:] == ["Restarting Server 1", "Restarting Server 2"]
    assert said["reload"] == ["Verifying nginx configuration", "Reloading Load balancer"]
    assert said["deploy 3"][-1] == "Deploying Server 3"
    assert said["deploy 2"][-1] == "Removing Server 3"
    assert said["detach 2"] == ["Detaching Server 2"]
    assert said["attach 2"] == ["Attaching Server 2"]
    assert said["configure"][-1] == "Writing nginx.conf"
    assert "Verifying settings" in said["verify"]


def test_errors_go_to_standard_error(shared: Site) -> None:
    for words in (["detach", "servers"], ["start", "nobody"], ["frobnicate"], ["deploy"], ["help", "frobnicate"]):
        ran = shared.run(*words)
        assert ran.code != 0
        assert ran.out == ""
        assert ran.err
        assert "Traceback" not in ran.err


def test_help_shows_every_command(site: Site) -> None:
    ran = site.ok("help")
    assert site.ok("--help").out == ran.out
    for verb in VERBS:
        assert re.search(rf"^  {verb} ", ran.out, re.MULTILINE), verb
    shown = re.findall(r"^  ([a-z]+) ", ran.out.partition("Commands:\n")[2], re.MULTILINE)
    assert shown[:5] == ["init", "start", "stop", "restart", "status"]
    assert "TARGETS" in ran.out
    assert "ZENHOME" in ran.out


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_help_shows_how_a_command_is_used(shared: Site, verb: str) -> None:
    assert shared.ok("help", verb).out.startswith(f"Usage: zenwebserver {verb}")


def test_help_of_deploy_names_its_argument(shared: Site) -> None:
    ran = shared.ok("help", "deploy")
    assert "{n|+n|-n}" in ran.out
    assert "--yes" in ran.out
    assert shared.ok("deploy", "--help").out == ran.out


def test_the_version_is_told(shared: Site) -> None:
    assert shared.ok("--version").out == f"zenwebserver, version {zenwebserver.__version__}\n"
