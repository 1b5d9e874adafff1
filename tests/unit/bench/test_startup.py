import pytest
from bench import startup

WORKER_0 = {"container": 3.0, "store": 5.0, "forked": 5.5, "met": 6.0, "step": 6.2, "stepped": 6.3}
WORKER_1 = {"container": 3.5, "forked": 5.5, "met": 6.1, "step": 6.15, "stepped": 6.4}


def test_the_stages_are_the_whole_from_the_request_to_the_first_step():
    found = startup.stages(1.0, 1.2, 1.4, 1.5, [WORKER_0, WORKER_1])

    assert list(startup.STAGES) == list(found)
    assert pytest.approx(5.4) == sum(found.values())
    assert pytest.approx([0.2, 0.2, 0.1, 2.0, 1.5, 1.1, 0.1, 0.2]) == list(found.values())


def test_a_pod_that_was_seen_before_the_answer_costs_the_operator_nothing():
    found = startup.stages(1.0, 1.2, 1.1, 1.1, [WORKER_0, WORKER_1])

    assert (0.0, 0.0) == (found["operator"], found["scheduler"])


def test_marks_are_found_among_the_other_lines_of_a_log():
    log = "2026-01-01T00:00:00Z MARK met 6.0\n2026-01-01T00:00:00Z training begins\nMARK step 6.2500\n"

    assert {"met": 6.0, "step": 6.25} == startup.marks_of(log)


def test_where_the_store_is_not_known_imports_end_with_the_last_fork():
    unknown = {name: at for name, at in WORKER_0.items() if name != "store"}

    found = startup.stages(1.0, 1.2, 1.4, 1.5, [unknown, WORKER_1])

    assert pytest.approx((2.0, 0.6)) == (found["imports"], found["rendezvous"])
