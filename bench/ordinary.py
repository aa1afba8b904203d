"""Servers without zenwebserver: N `runwsgi` processes with the same site, on the same ZEO server."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from bench.sites import Measured
from bench.visits import seconds_until_all_answer
from zenwebserver.home import Home
from zenwebserver.site import zope_conf

FIRST_PORT = 20  # above the base port of the site, so beside the ports of its servers


class Ordinary:
    """One after the other or all together; `end` leaves none."""

    def __init__(self, measured: Measured, size: int) -> None:
        self.numbers = range(1, size + 1)
        self._measured = measured
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        for number in self.numbers:
            self._configure(number)

    @property
    def ports(self) -> list[int]:
        return [self._port(number) for number in self.numbers]

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._running.values()]

    def start(self) -> float:
        """All together. Returns the seconds until all answer."""
        return self._start(self.numbers)

    def start_once(self) -> float:
        """Start all together and end them. Returns the seconds until all answered."""
        try:
            return self.start()
        finally:
            self.end()

    def restart_in_turn(self) -> float:
        """Each when the one before answers again, as an admin's script does it. Returns the seconds."""
        return sum(self._restart(number) for number in self.numbers)

    def end(self) -> None:
        for number in list(self._running):
            self._stop(number)

    def _restart(self, number: int) -> float:
        self._stop(number)
        return self._start([number])

    def _start(self, numbers: Sequence[int]) -> float:
        def start() -> None:
            for number in numbers:
                self._running[number] = self._spawn(number)

        return seconds_until_all_answer([self._port(number) for number in numbers], start)

    def _stop(self, number: int) -> None:
        process = self._running.pop(number)
        process.terminate()
        process.wait()

    def _spawn(self, number: int) -> subprocess.Popen[bytes]:
        site = self._measured.site
        with (site.home / "log" / f"ordinary{number}.log").open("ab") as log:
            runwsgi = self._measured.python.parent / "runwsgi"
            command = [runwsgi, site.home / "etc" / f"ordinary{number}.ini"]
            return subprocess.Popen(command, stdout=log, stderr=log, env=site.environment)

    def _configure(self, number: int) -> None:
        home = Home.at(self._measured.site.home)
        client_home = home.var / f"ordinary{number}"
        client_home.mkdir(exist_ok=True)
        conf = home.etc / f"ordinary{number}.conf"
        site = zope_conf.read(home.zope_conf)
        conf.write_text(
            site.server_conf(client_home=client_home, name=client_home.name, storage_socket=home.storage_socket)
        )
        ini = home.zope_ini.read_text()
        ini = ini.replace("%(here)s/zope.conf", str(conf)).replace("port = 8080", f"port = {self._port(number)}")
        (home.etc / f"ordinary{number}.ini").write_text(ini)

    def _port(self, number: int) -> int:
        return self._measured.site.base + FIRST_PORT + number
