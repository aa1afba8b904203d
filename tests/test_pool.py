"""The pool: which servers there are, how it grows and shrinks, what words mean, and its record."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from zenwebserver import pool
from zenwebserver.errors import UsageError, ZenwebserverError
from zenwebserver.pool import Pool, Targets, parse_targets, wanted_size

THREE = Pool({1: True, 2: False, 4: True})


def test_it_grows_into_the_lowest_free_numbers_and_keeps_what_is_detached() -> None:
    assert THREE.grown(5) == Pool({1: True, 2: False, 3: True, 4: True, 5: True})
    assert THREE.grown(2) == THREE
    assert Pool().grown(2).attached == (1, 2)


def test_it_shrinks_by_the_detached_ones_first_and_from_the_highest_number() -> None:
    assert THREE.shrunk(2) == Pool({1: True, 4: True})
    assert THREE.shrunk(1) == Pool({1: True})
    assert Pool({1: False, 2: True, 3: False}).shrunk(2) == Pool({1: False, 2: True})
    assert THREE.shrunk(9) == THREE


def test_attaching_gives_another_pool_and_leaves_the_first_as_it_was() -> None:
    assert THREE.with_attached([2], True).attached == (1, 2, 4)
    assert THREE.with_attached([1, 4], False).attached == ()
    assert THREE.attached == (1, 4)


def test_the_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = tmp_path / "pool.json"
    assert pool.load(record) == Pool()
    pool.save(record, THREE)
    assert pool.load(record) == THREE


def servers(*members: str) -> str:
    return f'{{"servers": {{{", ".join(members)}}}}}'


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "line 1 column 1"),
        ("{", "line 1 column 2"),
        ("[]", 'no "servers"'),
        ("{}", 'no "servers"'),
        ("3", 'no "servers"'),
        ("NaN", 'no "servers"'),
        ('{"servers": 3}', 'no "servers"'),
        ('{"servers": [1]}', 'no "servers"'),
        (servers('"one": {"attached": true}'), "'one' is no server's number"),
        (servers('"-1": {"attached": true}'), "'-1' is no server's number"),
        (servers('"0": {"attached": true}'), "'0' is no server's number"),
        (servers('"1.0": {"attached": true}'), "'1.0' is no server's number"),
        (servers('" 1": {"attached": true}'), "' 1' is no server's number"),
        (servers('"1_0": {"attached": true}'), "'1_0' is no server's number"),
        (servers('"\u0663": {"attached": true}'), "is no server's number"),
        (servers('"1000000": {"attached": true}'), "'1000000' is no server's number: they are 1 to 999999"),
        (servers(f'"{"9" * 5000}": {{"attached": true}}'), "is no server's number"),
        (servers('"1": {"attached": true}', '"01": {"attached": false}'), "'01' is no server's number"),
        (servers('"1": {"attached": true}', '"1": {"attached": false}'), "it says '1' twice"),
        (servers('"1": {"attached": true, "attached": false}'), "it says 'attached' twice"),
        (servers('"1": {"attached": NaN}'), "server 1 is neither"),
        (servers('"1": {"attached": 1}'), "server 1 is neither"),
        (servers('"1": {"attached": 1e999}'), "server 1 is neither"),
        (servers('"1": {"attached": "false"}'), "server 1 is neither"),
        (servers('"1": {"attached": null}'), "server 1 is neither"),
        (servers('"1": {}'), "server 1 is neither"),
        (servers('"1": []'), "server 1 is neither"),
        (servers('"1": true'), "server 1 is neither"),
        (servers(f'"1": {{"attached": {"9" * 5000}}}'), "digits"),
        ("[" * 100_000, "nested too deeply"),
        ('{"servers": ' * 100_000, "nested too deeply"),
        (servers('"1": ' + "[" * 100_000 + "]" * 100_000), "nested too deeply"),
    ],
    ids=lambda value: value[:40],
)
def test_a_record_that_makes_no_sense_is_told_and_stays(tmp_path: Path, text: str, why: str) -> None:
    record = tmp_path / "pool.json"
    record.write_text(text)
    with pytest.raises(ZenwebserverError, match=r"cannot be read: .*pool\.json") as error:
        pool.load(record)
    assert why in error.value.message
    assert len(error.value.message) < 300
    assert "Nothing was changed" in error.value.hint
    assert record.read_text() == text


def test_a_record_that_is_no_text_is_told_with_its_line(tmp_path: Path) -> None:
    record = tmp_path / "pool.json"
    record.write_bytes(b'{\n"caf\xe9": 1}')
    with pytest.raises(
        ZenwebserverError, match=r"cannot be read: .*pool\.json: is not UTF-8: line 2, byte 0xe9"
    ) as error:
        pool.load(record)
    assert "Repair it" in error.value.hint


def test_the_record_that_the_hint_shows_is_read_and_so_is_none(tmp_path: Path) -> None:
    record = tmp_path / "pool.json"
    record.write_text("broken")
    with pytest.raises(ZenwebserverError) as error:
        pool.load(record)
    record.write_text(error.value.hint.partition("e.g. ")[2].partition(", or")[0])
    assert pool.load(record) == Pool({1: True})
    record.rename(tmp_path / "away")
    assert pool.load(record) == Pool()


def test_what_another_version_may_have_added_means_nothing(tmp_path: Path) -> None:
    record = tmp_path / "pool.json"
    record.write_text('{"version": 2, "servers": {"999999": {"attached": false, "since": NaN}}}')
    assert pool.load(record) == Pool({999999: False})


@pytest.mark.parametrize(("word", "size"), [("4", 4), ("+1", 4), ("-1", 2), ("-9", 1), ("+0", 3)])
def test_a_size_is_absolute_or_relative_and_never_below_one(word: str, size: int) -> None:
    assert wanted_size(word, 3) == size


@pytest.mark.parametrize("word", ["", "0", "many", "1.5", "--1", "+", "9999999", "٣"])
def test_what_is_no_size_is_refused(word: str) -> None:
    with pytest.raises(UsageError):
        wanted_size(word, 3)


@pytest.mark.parametrize(
    ("words", "targets"),
    [
        ([], Targets(True, (1, 2, 4), True, everything=True)),
        (["nginx"], Targets(loadbalancer=True)),
        (["loadbalancer", "storage"], Targets(loadbalancer=True, storage=True)),
        (["servers"], Targets(servers=(1, 2, 4))),
        (["server4", "1", "4"], Targets(servers=(1, 4))),
        (["2", "servers"], Targets(servers=(1, 2, 4))),
    ],
)
def test_words_name_targets(words: list[str], targets: Targets) -> None:
    assert parse_targets(words, THREE) == targets


@pytest.mark.parametrize("word", ["server3", "3", "0", "zope1", "Server1", ""])
def test_an_unknown_target_is_refused_with_the_valid_ones(word: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_targets(["1", word], THREE)
    assert error.value.hint == "Valid targets: loadbalancer, storage, servers, server1, server2, server4"


def test_a_verb_for_servers_takes_no_other_target() -> None:
    with pytest.raises(UsageError):
        parse_targets(["storage"], THREE, allowed=("servers",))
    assert parse_targets([], THREE, allowed=("servers",)) == Targets(servers=(1, 2, 4), everything=True)


def test_where_the_disk_is_full_the_record_before_is_put_back_from_what_was_kept_and_no_other_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, former, asked_for = tmp_path / "pool.json", Pool({1: True}), Pool({1: True, 2: True})
    for each in (former, asked_for):
        pool.save(record, each)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pool, "save", full)
    with pytest.raises(OSError, match="No space left"):
        pool.put_back(record, THREE)
    assert pool.load(record) == asked_for
    pool.put_back(record, former)
    assert pool.load(record) == former
