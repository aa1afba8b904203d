"""Which processes are this home's nginx, by what the kernel tells of them."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from zenwebserver.home import Home
from zenwebserver.supervisor.parts import nginx_processes

HOME = Home(Path("/srv/site"))


class Told:
    """What psutil tells of a process."""

    def __init__(self, pid: int, title: str, *, uid: int = os.geteuid(), begun: float = 1000.0, cwd: str = "/") -> None:
        self.pid = pid
        self.title, self.uid, self.begun, self.folder = title, uid, begun, cwd
        self.above: Told | None = None
        self.below: list[Told] = []

    def cmdline(self) -> list[str]:
        return [self.title]

    def uids(self) -> Any:
        return SimpleNamespace(real=self.uid)

    def create_time(self) -> float:
        return self.begun

    def cwd(self) -> str:
        return self.folder

    def parent(self) -> Told | None:
        return self.above

    def ppid(self) -> int:
        return self.above.pid if self.above else 0

    def children(self) -> list[Told]:
        return self.below


class Ended(Told):
    def cmdline(self) -> list[str]:
        raise psutil.NoSuchProcess(self.pid)


def master_of(home: Home, pid: int = 1, **what: Any) -> Told:
    return Told(pid, f"nginx: master process /usr/sbin/nginx -p {home.path}/ -c {home.nginx_conf}", **what)


def runs(monkeypatch: pytest.MonkeyPatch, *processes: Told) -> None:
    def process(pid: int) -> Told:
        for each in processes:
            if each.pid == pid:
                return each
        raise psutil.NoSuchProcess(pid)

    monkeypatch.setattr(psutil, "process_iter", lambda: iter(processes))
    monkeypatch.setattr(psutil, "Process", process)


def test_masters_are_found_by_home_and_user_the_newest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    older, newer = master_of(HOME, 1, begun=10.0), master_of(HOME, 2, begun=20.0)
    others = [
        master_of(Home(Path("/srv/site2")), 3),
        master_of(Home(Path("/elsewhere/srv/site")), 4),
        master_of(HOME, 5, uid=os.geteuid() + 1),
        Told(6, "nginx: worker process"),
        Told(7, f"tail -p {HOME.path}/ -c {HOME.nginx_conf} "),
        Ended(8, ""),
    ]
    runs(monkeypatch, older, *others, newer)
    assert nginx_processes.masters(HOME) == [newer, older]


def test_a_worker_that_is_still_called_as_its_master_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.nginx_pid.parent.mkdir(parents=True)
    former, new, worker, newest = (master_of(home, pid, begun=float(pid)) for pid in (2, 3, 4, 5))
    new.above = worker.above = former
    newest.above = new
    new.below = [Told(6, "nginx: worker process"), newest]  # one that has workers
    home.nginx_pid.write_text("5\n")  # one that has none yet
    runs(monkeypatch, former, new, worker, newest)
    assert nginx_processes.masters(home) == [newest, new, former]


@pytest.mark.parametrize(("begun", "believed"), [(-100.0, True), (0.5, True), (100.0, False)])
def test_a_pid_file_is_believed_only_of_a_master_that_began_before_it_was_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, begun: float, believed: bool
) -> None:
    home = Home(tmp_path)
    home.var.mkdir()
    home.nginx_pid.write_text("1\n")
    master = master_of(home, begun=home.nginx_pid.stat().st_mtime + begun)
    runs(monkeypatch, master)
    assert nginx_processes.named_master(home) is (master if believed else None)


@pytest.mark.parametrize(
    ("begun", "before"), [([], False), ([10.0], True), ([10.0, 98.0], True), ([10.0, 99.5], False), ([101.0], False)]
)
def test_what_was_written_after_all_workers_had_begun_they_have_not_read(
    monkeypatch: pytest.MonkeyPatch, begun: list[float], before: bool
) -> None:
    master = master_of(HOME)
    master.below = [Told(2 + number, "nginx: worker process", begun=each) for number, each in enumerate(begun)]
    master.below.append(Told(9, "nginx: worker process is shutting down", begun=200.0))
    runs(monkeypatch, master)
    assert nginx_processes.all_began_before(1, 100.0) is before


@pytest.mark.parametrize("text", ["", "nginx", "2\n", "-1\n"])
def test_a_pid_file_that_names_none_names_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> None:
    home = Home(tmp_path)
    home.var.mkdir()
    home.nginx_pid.write_text(text)
    runs(monkeypatch, master_of(home))
    assert nginx_processes.named_master(home) is None


def test_orphans_are_this_homes_workers_without_a_master(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home = Home(tmp_path)
    orphan = Told(1, "nginx: worker process", cwd=str(tmp_path))
    orphan.above = Told(2, "zenwebserver supervisor")
    lonely = Told(3, "nginx: worker process is shutting down", cwd=str(tmp_path))
    kept = Told(4, "nginx: worker process", cwd=str(tmp_path))
    kept.above = master_of(home, 5, cwd=str(tmp_path))
    elsewhere = Told(6, "nginx: worker process", cwd="/")
    gone = Told(7, "nginx: worker process", cwd="/nowhere")
    editor = Told(8, "vi nginx: ", cwd=str(tmp_path))
    runs(monkeypatch, orphan, lonely, kept, kept.above, elsewhere, gone, editor, Ended(9, ""))
    assert list(nginx_processes.orphans(home)) == [orphan, lonely]


def test_so_is_a_master_of_before_the_home_was_moved_and_no_nginx_that_somebody_else_started_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home = Home(tmp_path)
    left = master_of(Home(Path("/former/place")), 1, cwd=str(tmp_path))
    worker = Told(2, "nginx: worker process", cwd=str(tmp_path))
    worker.above = left
    ours = master_of(home, 3, cwd=str(tmp_path))
    foreign = Told(4, "nginx: master process nginx -c /etc/nginx/nginx.conf", cwd=str(tmp_path))
    elsewhere = master_of(Home(Path("/former/place")), 5, cwd="/")
    runs(monkeypatch, left, worker, ours, foreign, elsewhere)
    assert list(nginx_processes.orphans(home)) == [left]
