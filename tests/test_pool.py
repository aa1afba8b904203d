"""The pool: which servers there are, how it grows and shrinks, what words mean, and its record."""

from __future__ import annotations

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


def test_it_shrinks_from_the_highest_number() -> None:
    assert THREE.shrunk(2) == Pool({1: True, 2: False})
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


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"servers": {"one": {"attached": true}}}', '{"servers": 3}'])
def test_a_record_that_makes_no_sense_is_told_and_stays(tmp_path: Path, text: str) -> None:
    record = tmp_path / "pool.json"
    record.write_text(text)
    with pytest.raises(ZenwebserverError, match=r"cannot be read: .*pool\.json") as error:
        pool.load(record)
    assert "Nothing was changed" in error.value.hint
    assert record.read_text() == text


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
