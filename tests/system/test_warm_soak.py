"""A hundred exchanges of servers under load: nothing fails, nothing is lost, nothing is doubled."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import time

import pytest
from harness import WAIT_SECONDS, Site, wait_until
from load import Load
from seen import stored
from warm import all_up, configure, server_pids, write_code

EXCHANGES = 100
SERVERS = 8
MEGABYTES = 6
SITE = "warm"
SETTINGS = {"restartParallel": SERVERS, "threads": 2}


def exchanges(site: Site) -> int:
    return site.log().count(" serves: pid ")


def test_a_hundred_exchanges_fail_no_request_and_lose_or_double_none(shared: Site) -> None:
    begun = exchanges(shared)
    configure(shared, maxRequests=100)
    with Load(shared.port, clients=16, pause=0.01) as load:
        load.wait_for(100)
        while exchanges(shared) - begun < EXCHANGES:
            shared.ok("restart", "servers")
            assert load.outcome.failures == []
    configure(shared, maxRequests=0)
    assert load.outcome.failures == []
    assert load.outcome.answered > EXCHANGES
    assert stored(shared) == dict.fromkeys(load.outcome.stored, 1)


def throttled_upload(port: int, body: bytes, sent: list[int]) -> bytes:
    """POST `body` in small pieces; returns the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=WAIT_SECONDS) as client:
        client.sendall(
            b"POST /upload HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
            b"Content-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        piece = len(body) // 40
        for start in range(0, len(body), piece):
            client.sendall(body[start : start + piece])
            sent[0] = start + piece
            time.sleep(0.05)  # this client is slow
        return read_all(client, 0.0)


def throttled_download(port: int, received: list[int]) -> bytes:
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        client.settimeout(WAIT_SECONDS)
        client.connect(("127.0.0.1", port))
        client.sendall(b"GET /download?megabytes=%d HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n" % MEGABYTES)
        return read_all(client, 0.02, received)


def read_all(client: socket.socket, pause: float, received: list[int] | None = None) -> bytes:
    answer = b""
    while part := client.recv(128 * 1024):
        answer += part
        if received:
            received[0] = len(answer)
        time.sleep(pause)
    return answer


@pytest.mark.parametrize("through", ["nginx", "the server's own port"])
def test_slow_uploads_and_downloads_across_an_exchange_arrive_whole(shared: Site, through: str) -> None:
    ports = [shared.port] * 2 if through == "nginx" else [shared.server_port(1), shared.server_port(2)]
    wait_until(lambda: all_up(shared), "no predecessor is left")
    body, pids = os.urandom(MEGABYTES * 1024 * 1024), server_pids(shared)
    uploads: list[bytes] = []
    downloads: list[bytes] = []
    sent, received = [[1], [1]], [[1], [1]]
    clients = [
        threading.Thread(target=lambda n=n: uploads.append(throttled_upload(ports[n], body, sent[n]))) for n in (0, 1)
    ] + [
        threading.Thread(target=lambda n=n: downloads.append(throttled_download(ports[n], received[n]))) for n in (0, 1)
    ]
    for client in clients:
        client.start()
    wait_until(lambda: all(each[0] > 1024 for each in sent + received), "all are under way")
    write_code(shared, "during transfers")
    shared.ok("restart", "servers")
    for client in clients:
        client.join()
    assert set(server_pids(shared).values()).isdisjoint(pids.values())
    told = f"{len(body)} {hashlib.sha256(body).hexdigest()}".encode()
    assert len(uploads) == 2
    assert all(b" 200 OK" in answer and answer.endswith(told) for answer in uploads)
    whole = bytes(range(256)) * 4 * 1024 * MEGABYTES
    assert [answer.partition(b"\r\n\r\n")[2] == whole for answer in downloads] == [True, True]
    wait_until(lambda: all_up(shared), "the predecessors have gone when they had answered")
