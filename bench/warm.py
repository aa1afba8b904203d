"""`make bench-warm`: warm servers beside ordinary ones, on Zope and on Plone; the tables of docs/benchmarks.md."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench import sites
from bench.memory import Memory, memory
from bench.ordinary import Ordinary
from bench.sites import Measured
from bench.visits import CLIENTS, seconds_until_all_answer, visit

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
BEGIN, END = "<!-- make bench-warm writes from here -->", "<!-- to here -->"
SIZES = (1, 2, 4, 8)
STARTS = 3  # of each kind, in turn; their median counts
REQUESTS = 400  # to each server, before its memory is looked at


@dataclass
class Row:
    """Seconds and MB; `unit` is one ordinary start in the same minutes."""

    size: int
    unit: float
    starts: list[float]
    ordinary_starts: list[float]
    restart: float = 0.0
    ordinary_restart: float = 0.0
    memory: Memory = field(default_factory=lambda: Memory(0, 0))
    ordinary_memory: Memory = field(default_factory=lambda: Memory(0, 0))


def main(sizes: tuple[int, ...]) -> None:
    tables = []
    for kind in (sites.zope, sites.plone):
        with kind() as measured:
            fill_caches(measured)
            tables.append(table(measured.name, [measure(measured, size) for size in sizes]))
    write(tables)


def write(tables: list[str]) -> None:
    """Put them between their marks in docs/benchmarks.md."""
    text = PAGE.read_text()
    before, after = text[: text.index(BEGIN)], text[text.index(END) :]
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    PAGE.write_text("\n\n".join([before + BEGIN, f"{time.strftime('%Y-%m-%d')}, {machine}.", *tables, after]))


def fill_caches(measured: Measured) -> None:
    """Those on disk: compiled modules and templates, which all servers of a site share."""
    ordinary = Ordinary(measured, 1)
    try:
        ordinary.start()
        visit(measured, ordinary.ports, CLIENTS * len(measured.pages))
    finally:
        ordinary.end()


def measure(measured: Measured, size: int) -> Row:
    """Starts of one, of N ordinary and of N warm servers in turn; then each pool's memory and rolling restart."""
    site = measured.site
    site.ok("deploy", size, timeout=600)
    units, starts, ordinary_starts = [], [], []
    for _ in range(STARTS):
        site.ok("stop", "servers")
        units.append(Ordinary(measured, 1).start_once())
        ordinary_starts.append(Ordinary(measured, size).start_once())
        starts.append(start_warm(measured, size))
    row = Row(size, median(units), starts, ordinary_starts)

    ports = [site.server_port(number) for number in range(1, size + 1)]
    visit(measured, ports, REQUESTS)
    zygote = next((site.home / "var" / "run").glob("zygote*.pid"))
    row.memory = memory([site.pid(f"zope{number}") for number in range(1, size + 1)], [site.pid(zygote.stem)])
    row.restart = seconds(lambda: site.ok("restart", "servers", timeout=600))
    site.ok("stop", "servers")

    ordinary = Ordinary(measured, size)
    try:
        ordinary.start()
        visit(measured, ordinary.ports, REQUESTS)
        row.ordinary_memory = memory(ordinary.pids)
        row.ordinary_restart = ordinary.restart_in_turn()
    finally:
        ordinary.end()
    print(measured.name, row, flush=True)
    return row


def start_warm(measured: Measured, size: int) -> float:
    """The supervisor and the storage run already, as the storage does for the ordinary ones."""
    ports = [measured.site.server_port(number) for number in range(1, size + 1)]
    return seconds_until_all_answer(ports, lambda: measured.site.ok("start", "servers", timeout=600))


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def table(name: str, rows: list[Row]) -> str:
    """Two tables: seconds, and MB."""
    seconds_head = (
        f"| {name}: servers | one ordinary start | N ordinary, together | **N warm** | ÷ one | ÷ N ordinary "
        "| ordinary, restarted in turn | **rolling restart** | ÷ one |"
    )
    memory_head = (
        f"| {name}: servers | private, each: ordinary | **warm** | ÷ | all: ordinary | **warm, zygote included** | ÷ |"
    )
    return "\n\n".join(
        "\n".join([head, "|" + " ---: |" * (head.count("|") - 1), *map(line, rows)])
        for head, line in ((seconds_head, seconds_line), (memory_head, memory_line))
    )


def seconds_line(row: Row) -> str:
    start, ordinary = median(row.starts), median(row.ordinary_starts)
    return (
        f"| {row.size} | {row.unit:.2f} s | {ordinary:.2f} s | {start:.2f} s | {start / row.unit:.2f} "
        f"| {start / ordinary:.2f} | {row.ordinary_restart:.2f} s | {row.restart:.2f} s "
        f"| {row.restart / row.unit:.2f} |"
    )


def memory_line(row: Row) -> str:
    warm, ordinary = row.memory, row.ordinary_memory
    return (
        f"| {row.size} | {ordinary.private:.0f} MB | {warm.private:.0f} MB | {warm.private / ordinary.private:.2f} "
        f"| {ordinary.proportional:.0f} MB | {warm.proportional:.0f} MB "
        f"| {warm.proportional / ordinary.proportional:.2f} |"
    )


if __name__ == "__main__":
    main(tuple(map(int, sys.argv[1:])) or SIZES)
