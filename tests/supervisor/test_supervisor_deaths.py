"""What dies is started again at once, then after growing pauses, and given up when it dies too often."""

from __future__ import annotations

from zenwebserver.supervisor.parts.deaths import PAUSES, TOO_MANY, WITHIN, Deaths


def test_pauses_grow_and_too_many_deaths_in_a_minute_are_the_end() -> None:
    deaths = Deaths()
    assert [deaths.record(second) for second in range(TOO_MANY)] == [*PAUSES[: TOO_MANY - 1], None]


def test_deaths_that_are_far_apart_count_as_first_ones() -> None:
    deaths = Deaths()
    assert [deaths.record(turn * (WITHIN + 1)) for turn in range(20)] == [0.0] * 20


def test_slow_deaths_in_a_row_have_the_longest_pause_and_are_not_given_up() -> None:
    deaths = Deaths()
    pauses = [deaths.record(turn * WITHIN / 2) for turn in range(20)]
    assert pauses[: len(PAUSES)] == list(PAUSES)
    assert set(pauses[len(PAUSES) :]) == {PAUSES[-1]}


def test_after_an_admins_start_it_begins_anew() -> None:
    deaths = Deaths()
    for second in range(TOO_MANY - 1):
        deaths.record(second)
    deaths.forget()
    assert deaths.record(TOO_MANY) == 0.0
