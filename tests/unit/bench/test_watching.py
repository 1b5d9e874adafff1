import msgspec
import pytest
from bench.watching import EVENT, Fact, Meta, Object, Status, Watch, reached, recovery, seen


def facts(*rows):
    return [Fact(at=at, name=name, state=state) for at, name, state in rows]


def test_an_object_is_seen_when_it_first_was_and_not_when_it_changed():
    found = facts((1, "a", "Pending"), (2, "a", "Running"), (3, "b", "Running"), (4, "a", "Gone"))

    assert {"a": 1, "b": 3} == seen(found)
    assert {"a": 2, "b": 3} == reached(found, "Running")


def test_one_that_was_only_seen_to_go_was_not_seen():
    assert {} == seen(facts((1, "a", "Gone")))


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ({"phase": "Running"}, "Running"),
        ({"phase": "Succeeded"}, "Complete"),
        ({"phase": "Complete"}, "Complete"),
        ({"conditions": [{"type": "Complete", "status": "True"}]}, "Complete"),
        ({"conditions": [{"type": "Completed", "status": "True"}]}, "Complete"),
        ({"conditions": [{"type": "Complete", "status": "False"}]}, ""),
        ({"conditions": [{"type": "SuccessCriteriaMet", "status": "True"}]}, ""),
        ({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}, "Running"),
    ],
)
def test_each_kind_says_in_its_own_way_that_it_is_done(status, state):
    assert state == msgspec.convert(status, Status).state


def test_the_error_of_a_watch_is_read_as_one():
    line = b'{"type":"ERROR","object":{"kind":"Status","metadata":{},"status":"Failure","code":410}}'

    assert "ERROR" == EVENT.decode(line).type


def test_one_pod_that_is_replaced():
    found = recovery(
        facts(
            (1, "f1-a", "Running"), (1, "f1-b", "Running"), (1, "f2-a", "Running"),
            (5.1, "f1-a", "Failed"), (5.2, "f2-x", "Running"), (6, "f1-c", "Pending"), (7, "f1-c", "Running"),
        ), "f1-", 5.0, 2,
    )  # fmt: skip

    assert (1.0, 2.0, 1) == (found.replacement, found.whole, found.made)


def test_a_gang_that_is_made_anew_is_whole_when_all_of_it_runs():
    found = recovery(
        facts(
            (1, "f1-a", "Running"), (1, "f1-b", "Running"), (5.1, "f1-a", "Failed"), (5.2, "f1-b", "Ending"),
            (5.3, "f1-a", "Gone"), (5.3, "f1-b", "Gone"), (5.4, "f1-c", "Pending"), (5.5, "f1-d", "Pending"),
            (6.0, "f1-c", "Running"), (6.5, "f1-d", "Running"),
        ), "f1-", 5.0, 2,
    )  # fmt: skip

    assert (pytest.approx(0.4), 1.5, 2) == (found.replacement, found.whole, found.made)


def test_a_failure_that_nothing_followed_has_no_seconds():
    found = recovery(facts((1, "f1-a", "Running"), (1, "f1-b", "Running"), (5.1, "f1-a", "Failed")), "f1-", 5.0, 2)

    assert (None, None, 0) == (found.replacement, found.whole, found.made)


def test_a_watch_counts_what_is_there_now():
    watch = Watch(None, None, "n")
    pods = [("a", "Pending"), ("b", "Running"), ("a", "Running"), ("a", "Running"), ("b", "Succeeded")]
    for name, phase in pods:
        watch._take(Object(metadata=Meta(name=name), status=Status(phase=phase)), gone=False)

    assert (0, 1, 1) == (watch.count("Pending"), watch.count("Running"), watch.count("Complete"))

    watch._take(Object(metadata=Meta(name="a"), status=Status(phase="Running")), gone=True)

    assert 0 == watch.count("Running")
    assert {"b": "Complete"} == watch.now
    assert ["a Pending", "b Running", "a Running", "b Complete", "a Gone"] == [
        f"{f.name} {f.state}" for f in watch.facts
    ]


def test_a_pod_that_is_being_deleted_does_not_run_any_more():
    watch = Watch(None, None, "n")
    meta = Meta(name="a", deletion_timestamp="2026-11-27T10:00:00Z")

    watch._take(Object(metadata=meta, status=Status(phase="Running")), gone=False)

    assert {"a": "Ending"} == watch.now
