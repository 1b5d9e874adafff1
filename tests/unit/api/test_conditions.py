"""Conditions keep the moment at which they flipped."""

from builders import at
from ganger.api.conditions import MESSAGE_LENGTH_MAX, upsert


def test_a_new_condition_comes_last_with_the_time_of_now():
    first = upsert((), "Admitted", True, "NoQueue", now=at(1), generation=1)
    both = upsert(first, "Running", False, "Starting", "wait", now=at(2), generation=3)

    assert ["Admitted", "Running"] == [condition.type for condition in both]
    assert ("False", "Starting", "wait", at(2), 3) == (
        both[1].status,
        both[1].reason,
        both[1].message,
        both[1].last_transition_time,
        both[1].observed_generation,
    )


def test_the_time_moves_only_when_the_status_flips():
    one = upsert((), "Running", True, "GangRuns", now=at(1), generation=1)
    same = upsert(one, "Running", True, "Resumed", "again", now=at(2), generation=2)
    flipped = upsert(same, "Running", False, "Ended", now=at(3), generation=2)

    assert (at(1), "Resumed", 2) == (same[0].last_transition_time, same[0].reason, same[0].observed_generation)
    assert at(3) == flipped[0].last_transition_time


def test_the_same_facts_give_the_same_value_at_any_time():
    facts = ("Running", True, "GangRuns", "all workers run")
    one = upsert((), *facts, now=at(1), generation=1)

    assert one == upsert(one, *facts, now=at(9), generation=1)


def test_the_other_conditions_stay_where_they_are():
    some = ()
    for name in ("A", "B", "C"):
        some = upsert(some, name, True, "R", now=at(0), generation=1)

    changed = upsert(some, "B", False, "R", now=at(1), generation=1)
    assert [("A", "True"), ("B", "False"), ("C", "True")] == [(one.type, one.status) for one in changed]


def test_a_long_message_is_cut_to_what_the_definition_allows():
    (condition,) = upsert((), "Failed", True, "R", "x" * 5_000, now=at(0), generation=1)

    assert MESSAGE_LENGTH_MAX == len(condition.message)
