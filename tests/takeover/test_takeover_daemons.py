"""daemons.txt, as text."""

from __future__ import annotations

import pytest

from zenwebserver.takeover.daemons import switch_daemons, undo_daemons
from zenwebserver.takeover.switch import Found

LOAD_BALANCED = [
    b"zopectl\nzopectl2\n",
    b"zopectl-1\nzopectl-2\nhaproxy\n",
    b"zope1ctl\nzope2ctl\n",
    b"zenhub\nzopectl\nzopectl\n",
    b"zopectl zopectl_2\n",
    b"zopectl2\n",
]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"zopectl\n", b"zenwebserver\n"),
        (b"zopectl", b"zenwebserver"),
        (b"zeoctl\nzopectl\nzenhub\n", b"zeoctl\nzenwebserver\nzenhub\n"),
        (b"zeoctl\r\nzopectl\r\nzenhub", b"zeoctl\r\nzenwebserver\r\nzenhub"),
        (b"\n  zopectl\t \n\n", b"\n  zenwebserver\t \n\n"),
        (b"# zopectl\nzopectl # not zopectl2\n", b"# zopectl\nzenwebserver # not zopectl2\n"),
        (b"#zopectl2\nzopectl#x\n", b"#zopectl2\nzenwebserver#x\n"),
        (b"myzopectl\nzopectl\n", b"myzopectl\nzenwebserver\n"),
        (b"zeoctl zopectl zenhub\n", b"zeoctl zenwebserver zenhub\n"),
        (b"# caf\xe9 \xff\xfe\nzopectl\n", b"# caf\xe9 \xff\xfe\nzenwebserver\n"),
    ],
)
def test_the_line_zopectl_becomes_zenwebserver_and_every_other_byte_stays(before: bytes, after: bytes) -> None:
    switch = switch_daemons(before)
    assert (switch.found, switch.text) == (Found.SWITCHED, after)
    assert undo_daemons(switch.text, switch.word) == before
    assert switch_daemons(after).found is Found.ALREADY


@pytest.mark.parametrize("text", [b"", b"zenhub\n", b"# zopectl\n", b"myzopectl\nzenzopectl\n"])
def test_a_file_without_a_zope_server_is_left_alone(text: bytes) -> None:
    switch = switch_daemons(text)
    assert (switch.found, switch.text) == (Found.NOTHING, text)


@pytest.mark.parametrize("text", LOAD_BALANCED)
def test_a_custom_load_balancer_is_not_switched(text: bytes) -> None:
    switch = switch_daemons(text)
    assert (switch.found, switch.text) == (Found.SEVERAL, text)


def test_the_zope_servers_of_a_custom_load_balancer_are_named_with_their_lines() -> None:
    switch = switch_daemons(b"zenhub\nzopectl2\n\nzopectl\nzope-3\n")
    assert (switch.word, switch.line) == ("zopectl", 4)
    assert [str(word) for word in switch.others] == ["zopectl2 (line 2)", "zope-3 (line 5)"]


@pytest.mark.parametrize(
    ("before", "after", "others"),
    [
        (b"zopectl2\nzopectl\n", b"zopectl2\nzenwebserver\n", ["zopectl2"]),
        (b"zope1ctl\nzope2ctl\n", b"zenwebserver\nzope2ctl\n", ["zope2ctl"]),
        (b"zopectl\nzopectl\n", b"zenwebserver\nzopectl\n", ["zopectl"]),
        (b"zopectl2\n", b"zenwebserver\n", []),
    ],
)
def test_force_switches_zopectl_or_the_first_and_names_the_others(
    before: bytes, after: bytes, others: list[str]
) -> None:
    switch = switch_daemons(before, force=True)
    assert (switch.found, switch.text) == (Found.SWITCHED, after)
    assert [word.name for word in switch.others] == others


def test_a_file_that_names_zenwebserver_is_switched_already_whatever_else_it_names() -> None:
    switch = switch_daemons(b"zenwebserver\nzopectl2\n")
    assert (switch.found, [word.name for word in switch.others]) == (Found.ALREADY, ["zopectl2"])


@pytest.mark.parametrize(
    ("edited", "undone"),
    [
        (b"zenhub\n zenwebserver\nzenping\n", b"zenhub\n zopectl\nzenping\n"),
        (b"zenhub\nzenwebserver\nzopectl\n", b"zenhub\nzopectl\n"),  # put back by hand: not started twice
        (b"zopectl\nzenwebserver", b"zopectl\n"),
        (b"zopectl\nzenwebserver # ours\n", b"zopectl\n # ours\n"),
        (b"zenhub\n", None),
        (b"# zenwebserver\n", None),
    ],
)
def test_in_an_edited_file_only_our_line_is_put_back(edited: bytes, undone: bytes | None) -> None:
    assert undo_daemons(edited, "zopectl") == undone
