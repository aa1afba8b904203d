"""Servers that were forked from one zygote write to one database as if they had been started alone."""

from __future__ import annotations

from harness import Site
from warm import at_once

EACH = 20
SITE = "warm"


def test_conflicting_writes_of_several_servers_are_all_kept(shared: Site) -> None:
    shared.post("/increment")
    answers: list[int] = []

    def increment(number: int) -> None:
        for _ in range(EACH):
            # A conflict that outlasts Zope's retries is told as such; the client tries again.
            while (status := shared.post("/increment", port=shared.server_port(number)).status) != 200:
                assert status == 503
            answers.append(status)

    at_once(*(lambda number=number: increment(number) for number in (1, 2, 1, 2)))
    assert len(answers) == 4 * EACH
    assert [shared.get("/counter", port=shared.server_port(number)).text for number in (1, 2)] == [
        str(4 * EACH + 1)
    ] * 2


def test_each_server_sees_at_once_what_the_other_has_committed(shared: Site) -> None:
    for turn in range(20):
        writer, reader = (1, 2) if turn % 2 else (2, 1)
        assert shared.post("/store", f"id=seen{turn}", port=shared.server_port(writer)).status == 200
        assert shared.get(f"/count?id=seen{turn}", port=shared.server_port(reader)).text == "1"


def test_a_blob_written_by_one_server_is_read_by_the_other(shared: Site) -> None:
    for writer, reader in ((1, 2), (2, 1)):
        text = f"from{writer}"
        assert shared.post("/writeblob", f"id={text}&text={text}", port=shared.server_port(writer)).status == 200
        assert shared.get(f"/readblob?id={text}", port=shared.server_port(reader)).text == text * 1000
    shared.ok("restart", "servers")
    assert shared.get("/readblob?id=from1").text == "from1" * 1000
