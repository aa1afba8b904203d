"""Where the home is, and what is made in it."""

from __future__ import annotations

import fcntl
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import Site, wait_until


@pytest.fixture
def default_ports() -> Iterator[None]:
    """The ports of a home with default settings, ours alone among parallel tests; without them the test is skipped."""
    with (Path(tempfile.gettempdir()) / "zenwebserver-test-default-ports").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for port in (8080, 9081, 9082):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("", port))
                except OSError:
                    pytest.skip(f"port {port} is taken")
        yield


def test_a_home_with_spaces_works(make_site: Callable[..., Site]) -> None:
    site = make_site()
    site.home = site.home / "my home"
    site.environment["ZENHOME"] = str(site.home)
    site.init().use("store").ok("start")
    site.post("/store", "id=one")
    site.ok("restart")
    assert site.get("/count?id=one").text == "1"
    site.ok("stop")
    site.home = site.home.parent


def test_a_path_that_is_too_long_is_said_plainly(site: Site) -> None:
    long = f"{site.home}/{'h' * 90}"
    site.environment["ZENHOME"] = long
    for command in ("init", "start", "status"):
        ran = site.run(command)
        assert (ran.code, ran.out) == (2, "")
        assert f"The home's path is too long for Unix sockets: {long}" in ran.err
        assert "Set ZENHOME to a path of at most" in ran.err
    assert not Path(long).exists()


def test_a_home_that_may_not_be_made_is_said_plainly(site: Site) -> None:
    a_file = site.home / "etc" / "zope.conf"
    cases = ((a_file / "home", 2, f"{a_file} is no folder"), ("/proc/home", 1, "The supervisor cannot start"))
    for place, code, words in cases:
        site.environment["ZENHOME"] = str(place)
        ran = site.run("init")
        assert ran.code == code
        assert words in ran.err
        assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    ("environment", "place"),
    [({"XDG_DATA_HOME": "data"}, "data/zenwebserver"), ({"HOME": "person"}, "person/.local/share/zenwebserver")],
)
def test_without_zenhome_it_is_in_the_users_data(
    make_site: Callable[..., Site], environment: dict[str, str], place: str
) -> None:
    site = make_site()
    for name in ("ZENHOME", "XDG_DATA_HOME"):
        site.environment.pop(name, None)
    site.environment.update({name: str(site.home / folder) for name, folder in environment.items()})
    ran = site.ok("init")
    assert f"The home is made: {site.home / place}\n" in ran.out
    assert (site.home / place / "etc" / "zope.conf").exists()
    wait_until(lambda: not site.processes(), "what made the home has ended")


def test_init_makes_a_home_once_starts_nothing_and_says_the_password_once(make_site: Callable[..., Site]) -> None:
    site = make_site().init()
    wait_until(lambda: not site.processes(), "nothing runs")
    made = {path: path.read_bytes() for path in site.home.rglob("*") if path.is_file() and path.suffix != ".log"}
    conf = (site.home / "etc" / "zenwebserver.conf").read_text()
    assert f"\nhttpPort {site.port}\n" in conf
    assert "\n#threads 4\n" in conf
    ran = site.ok("init")
    assert ran.out == f"The home is there already: {site.home}\n"
    wait_until(lambda: not site.processes(), "nothing runs")
    assert {path: path.read_bytes() for path in made} == made
    assert [path for path, content in made.items() if site.password.encode() in content] == []


def test_a_wrong_setting_makes_no_home(make_site: Callable[..., Site]) -> None:
    site = make_site()
    for assignment in ("httpPort=none", "htpPort=8081", "httpPort", "1 2=3"):
        ran = site.run("init", f"--set={assignment}")
        assert (ran.code, ran.out) == (2, "")
        assert assignment.partition("=")[0] in ran.err
        assert not site.home.exists()
    ran = site.run("init", "--set=httpPort=9083")
    assert ran.err == (
        "zenwebserver: --set: httpPort 9083 (--set) is the port of server 3: serverBasePort 9080 (default) and "
        "maxServers 30 (default) give the servers the ports 9081 to 9110\nNothing was done: no home was made.\n"
    )
    assert not site.home.exists()
    site.init()


@pytest.mark.usefixtures("default_ports")
def test_a_home_as_init_makes_it_without_a_word_is_served_at_the_default_ports_by_two(
    make_site: Callable[..., Site],
) -> None:
    site = make_site()
    site.home.mkdir()  # empty is as good as missing
    ran = site.ok("init")
    assert "Administrator: admin\n" in ran.out
    assert "Password: " in ran.out
    assert site.ok("start").out.endswith("Started: http://127.0.0.1:8080/\n")
    assert site.get("/", port=8080).status == 200
    assert [site.get("/", port=port).status for port in (9081, 9082)] == [200, 200]
    assert {path.name for path in site.home.glob("etc/zope/zope*.conf")} == {"zope1.conf", "zope2.conf"}
    again = site.ok("start")
    assert again.out == "It runs already: http://127.0.0.1:8080/\n"


@pytest.mark.parametrize(
    "command",
    [
        *("start", "stop", "restart", "deploy 3", "attach 1", "detach 1", "configure", "verify", "reload"),
        *("run", "debug", "threads 1", "upgrade"),
    ],
)
def test_only_init_makes_a_home(make_site: Callable[..., Site], command: str) -> None:
    site = make_site()
    ran = site.run(*command.split())
    assert (ran.code, ran.out) == (2, "")
    assert f"zenwebserver: There is no home at {site.home} (ZENHOME names it)\n" in ran.err
    assert "To make one there: zenwebserver init" in ran.err
    assert not site.home.exists()


def test_where_zenhome_was_forgotten_it_is_said_where_the_home_was_looked_for(make_site: Callable[..., Site]) -> None:
    site = make_site()
    del site.environment["ZENHOME"]
    site.environment["XDG_DATA_HOME"] = str(site.home)
    said = f"There is no home at {site.home}/zenwebserver (ZENHOME is not set, and XDG_DATA_HOME is {site.home})"
    assert said in site.run("start").err
    ran = site.run("status")
    assert (ran.code, ran.out) == (1, "not running\n")
    assert said in ran.err
    assert not site.home.exists()


def test_init_makes_no_home_among_somebody_elses_files_unless_it_is_meant(make_site: Callable[..., Site]) -> None:
    site = make_site()
    site.home.mkdir()
    (site.home / "letters").touch()
    ran = site.run("init")
    assert (ran.code, ran.out) == (2, "")
    assert f"{site.home} is no home, no Zope instance and not empty: it holds letters\n" in ran.err
    assert [path.name for path in site.home.iterdir()] == ["letters"]
    site.ok("init", "--force")


def test_settings_for_a_home_that_is_there_already_are_refused_unless_it_has_them(site: Site) -> None:
    conf = site.home / "etc" / "zenwebserver.conf"
    before = conf.read_text()
    ran = site.run("init", f"--set=httpPort={site.port}", "--set=threads=7")
    assert (ran.code, ran.out) == (2, "")
    assert f"{site.home} (--set threads)\n" in ran.err
    assert f"Edit {conf}; then: zenwebserver configure" in ran.err
    assert site.ok("init", f"--set=httpPort={site.port}").out == f"The home is there already: {site.home}\n"
    assert site.ok("init", "--quiet", "--set=threads=7").out == ""
    assert conf.read_text() == before


def test_a_home_is_found_behind_a_link(site: Site) -> None:
    link = site.home.with_name(site.home.name + "-link")
    link.symlink_to(site.home)
    try:
        site.environment["ZENHOME"] = str(link)
        site.ok("start")
        assert site.get("/").status == 200
        site.environment["ZENHOME"] = str(site.home)
        assert "older" not in site.ok("verify").out, "it is the same home, by another name"
        site.ok("stop")
    finally:
        link.unlink()
        site.environment["ZENHOME"] = str(site.home)
