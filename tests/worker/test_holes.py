"""The free places in Python's memory."""

from __future__ import annotations

import sys
import tempfile

import pytest

from zenwebserver.worker import holes


def free_bytes() -> int:
    return sum(size * free for size, free in holes.free_places())


def test_what_fills_the_holes_leaves_hardly_any() -> None:
    made = [bytes(size) for size in range(400) for _ in range(1000)]
    del made[::2]
    before = free_bytes()
    kept = holes.filling()
    assert before > 1_000_000
    assert free_bytes() < before / 4
    assert kept


def test_they_are_known_where_no_file_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nonexistent")
    assert holes.free_places()


def test_a_python_that_does_not_tell_of_its_memory_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(sys, "_debugmallocstats")
    assert holes.filling() == []
