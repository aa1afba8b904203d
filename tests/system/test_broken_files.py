"""Files that an accident has damaged: said in clear words, nothing is changed, what runs goes on."""

from __future__ import annotations

from harness import Ran, Site, wait_until
from seen import pids

PARTS = ("zope1", "zope2", "storage", "nginx")


def clear(ran: Ran, *words: str) -> None:
    assert ran.code == 1, ran
    assert all(word in ran.err for word in words), ran
    assert "Traceback" not in ran.err, ran
    assert "defect" not in ran.err, ran


def test_a_record_of_the_pool_that_cannot_be_read_stops_no_server(running: Site) -> None:
    record = running.home / "etc" / "zope" / "pool.json"
    good = record.read_text()
    before = pids(running, *PARTS)
    negative = b'{"servers": {"-1": {"attached": true}}}'
    for bad in (b"", b"{", b'{"servers": [1]}', negative, b"[" * 100_000, b"\x00\xff"):
        record.write_bytes(bad)
        for command in ("start", "restart", "deploy +1", "detach 1", "attach 1"):
            clear(running.run(*command.split()), str(record), "Repair it")
        assert record.read_bytes() == bad
        assert running.ok("status").out == f"program running; pid={before['nginx']}\n"

    record.write_bytes(b"[" * 100_000)
    running.kill("supervisor")
    clear(running.run("start"), str(record))
    assert pids(running, *PARTS) == before
    assert running.get("/who").status == 200

    record.write_text(good)
    running.ok("start")
    assert pids(running, *PARTS) == before
    record.write_text("{")
    running.ok("stop")
    wait_until(lambda: not running.processes(), "nothing is left")
    clear(running.run("start"), str(record), "Repair it")
    wait_until(lambda: not running.processes(), "nothing is left")


def test_settings_that_cannot_be_read_stop_nothing_but_what_is_told_to_stop(running: Site) -> None:
    settings = running.home / "etc" / "zenwebserver.conf"
    good = settings.read_text()
    nginx_conf = (running.home / "etc" / "nginx.conf").read_text()
    before = pids(running, *PARTS)
    settings.write_text(good + "\nhttpPort many\n")
    for command in ("start", "restart", "reload", "configure", "verify", "deploy +1", "detach 1"):
        clear(running.run(*command.split()), "zenwebserver.conf", "httpPort")
    assert (running.home / "etc" / "nginx.conf").read_text() == nginx_conf
    assert pids(running, *PARTS) == before

    running.kill("supervisor")
    clear(running.run("start"), "httpPort")
    assert pids(running, *PARTS) == before
    running.kill("zope1")
    wait_until(lambda: running.run("status", "-v").out.count("[UP]") == 4, "the server is back on its own port")
    assert running.get("/who", port=running.server_port(1)).status == 200

    running.ok("stop")
    wait_until(lambda: not running.processes(), "nothing is left")
    clear(running.run("start"), "httpPort")
    settings.write_text(good)
    running.ok("start")


def damage(running: Site, name: str) -> str:
    """Put a Latin-1 byte into the last line of a file of etc/. Returns how that is told."""
    path = running.home / "etc" / name
    damaged = path.read_bytes() + b"# caf\xe9\n"
    path.write_bytes(damaged)
    return f"{name} is not UTF-8: line {len(damaged.splitlines())}, byte 0xe9"


def test_a_template_that_is_no_text_stops_nothing_but_what_is_told_to_stop(running: Site) -> None:
    template = running.home / "etc" / "nginx.conf.template"
    good = template.read_text()
    before = pids(running, *PARTS)
    told = damage(running, template.name)
    damaged = template.read_bytes()
    for command in ("start", "restart", "reload", "configure", "verify", "deploy +1", "detach 1"):
        clear(running.run(*command.split()), told)

    running.kill("supervisor")
    clear(running.run("start"), told)
    assert pids(running, *PARTS) == before
    assert running.get("/who").status == 200
    running.ok("stop")
    wait_until(lambda: not running.processes(), "nothing is left")
    clear(running.run("start"), told)
    assert template.read_bytes() == damaged
    template.write_text(good)
    running.ok("start")


def test_a_byte_that_is_no_text_is_told_with_its_file_and_line(running: Site) -> None:
    before = pids(running, *PARTS)
    for name, commands in {
        "zenwebserver.conf": ("start", "restart", "configure", "verify", "deploy +1", "attach 1"),
        "zope.conf": ("restart servers", "verify", "deploy +1"),
        "zope.ini": ("verify",),
    }.items():
        path = running.home / "etc" / name
        good = path.read_bytes()
        told = damage(running, name)
        for command in commands:
            clear(running.run(*command.split()), told)
        path.write_bytes(good)
    assert pids(running, *PARTS) == before

    damage(running, "nginx.conf")  # nginx does not mind
    for command in ("start", "reload", "detach 1", "attach 1"):
        running.ok(*command.split())
    assert pids(running, *PARTS) == before
    assert running.get("/who").status == 200


def test_empty_settings_mean_the_defaults_and_a_missing_template_is_put_back(running: Site) -> None:
    before = pids(running, *PARTS)
    settings = running.home / "etc" / "zenwebserver.conf"
    good = settings.read_text()
    settings.write_text("")
    running.ok("verify")
    assert running.get("/who").status == 200
    settings.write_text(good)

    template = running.home / "etc" / "nginx.conf.template"
    shipped = template.read_text()
    template.unlink()
    assert running.ok("configure").code == 0
    assert template.read_text() == shipped
    (running.home / "html" / "zenwebserver_50x.html").unlink()
    running.ok("reload")
    assert pids(running, *PARTS) == before
    assert running.get("/who").status == 200


def test_a_missing_generated_file_is_told_or_made_again(running: Site) -> None:
    before = pids(running, *PARTS)
    (running.home / "etc" / "nginx.conf").unlink()
    clear(running.run("reload"), "nginx")
    assert running.get("/who").status == 200
    running.ok("configure")
    running.ok("reload")
    (running.home / "etc" / "zope" / "zope1.conf").unlink()
    running.kill("zope1")
    wait_until(lambda: running.run("status", "-v").out.count("[UP]") == 4, "the server is back")
    assert pids(running, "zope2", "storage", "nginx") == {name: before[name] for name in ("zope2", "storage", "nginx")}
