"""Visitors of single servers, at their own ports."""

from __future__ import annotations

import http.client
import itertools
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from bench.sites import Measured

CLIENTS = 4  # as many as a server has threads, so that each of them makes pages
LOOK_AGAIN_SECONDS = 0.01  # while a port refuses; nothing announces that it no longer does


def seconds_until_all_answer(ports: Sequence[int], start: Callable[[], None]) -> float:
    """Call `start`, and wait until each port has answered a request for the root of Zope."""
    began = time.perf_counter()
    starting = threading.Thread(target=start)
    starting.start()
    in_parallel(partial(_until_answered, port) for port in ports)
    seconds = time.perf_counter() - began
    starting.join()
    return seconds


def _until_answered(port: int) -> None:
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        try:
            connection.request("GET", "/")
            assert connection.getresponse().status == 200
        except ConnectionError:
            time.sleep(LOOK_AGAIN_SECONDS)
        else:
            return
        finally:
            connection.close()


def visit(measured: Measured, ports: Iterable[int], requests: int) -> None:
    """Have each server make `requests` pages, then collect garbage."""
    in_parallel(partial(_visit, measured, port, requests // CLIENTS) for port in ports for _ in range(CLIENTS))
    in_parallel(partial(measured.site.get, "/bench-collect", port=port) for port in ports)


def _visit(measured: Measured, port: int, requests: int) -> None:
    site = measured.site
    login = {"Authorization": "Basic " + b64encode(f"{site.user}:{site.password}".encode()).decode()}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    for page in itertools.islice(itertools.cycle(measured.pages), requests):
        connection.request("GET", page.path, headers=login if page.admin else {})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, (page, answer.status)
    connection.close()


def in_parallel(work: Iterable[Callable[[], object]]) -> None:
    """Do all of it at once. Raises what the first one raised that failed."""
    work = list(work)
    with ThreadPoolExecutor(len(work)) as threads:
        for done in [threads.submit(one) for one in work]:
            done.result()
