"""The judge of gangs in queues, with sequences that keep its rules and ones that break each of them."""

from fractions import Fraction

import msgspec
import pytest

from ganger_dev.gangs.facts import JobFact
from ganger_dev.gangs.judge import in_order
from unit.dev.gangs.sequences import EXPECTED, GPU, Story


def test_a_run_in_which_all_gangs_train_is_found_good():
    story = Story().all_others("a", "b", "c")
    assert [] == story.verdict()
    assert 4 >= story.judge.admitted.most["north", GPU] == 2 == story.judge.on_nodes.most["north", GPU]


def test_a_judge_who_saw_nothing_finds_that_nothing_has_finished():
    assert [("unfinished", "a"), ("unfinished", "b"), ("unfinished", "c")] == Story().verdict()


# --- quota ---


def test_workloads_that_hold_more_than_their_queue_has_break_the_quota_by_the_last_of_them():
    story = Story().admit("a").admit("b").wait(3).admit("c")
    (found,) = story.judge.violations
    assert ("quota", "c", 3.0) == (found.rule, found.gang, found.at)
    assert "hold 6 nvidia.com/gpu of queue north, which has 4" in found.text


def test_an_excess_is_told_once_and_told_again_when_it_comes_back():
    story = Story().admit("a").admit("b").admit("c").admit("c").release("a").admit("a")
    assert [("quota", "c"), ("quota", "a")] == [(one.rule, one.gang) for one in story.judge.violations]


def test_a_queue_that_nobody_expected_has_no_quota():
    expected = msgspec.structs.replace(EXPECTED, quota={"south": {GPU: Fraction(4)}})
    assert "which has 0" in Story(expected).admit("a").judge.violations[0].text


def test_workers_on_nodes_that_take_more_than_the_queue_has_break_the_quota_although_kueue_counts_less():
    """Both gangs were admitted for two GPUs each, and one worker takes three."""
    story = Story().run("a").admit("b").pod("b", 0, requests={GPU: Fraction(3)})
    (found,) = story.judge.violations
    assert ("quota", "b") == (found.rule, found.gang)
    assert "workers on nodes take 5 nvidia.com/gpu" in found.text


@pytest.mark.parametrize("what", [{"phase": "Succeeded"}, {"phase": "Failed"}, {"gone": True}, {"bound": False}])
def test_a_worker_that_has_ended_or_has_no_node_takes_nothing(what):
    story = Story().run("a").run("b")
    for worker in (0, 1):
        story.pod("a", worker, **what)
    story.release("a").run("c")
    assert [] == story.judge.violations


# --- quota and workers of one gang ---


def test_a_worker_that_has_a_node_before_its_gang_is_admitted_is_found():
    story = Story().pod("a", 0).pod("a", 1).admit("a")
    assert [("unadmitted", "a")] == [(one.rule, one.gang) for one in story.judge.violations]
    assert "1 workers hold nodes, and it has quota for 0" == story.judge.violations[0].text


def test_a_gang_that_gives_its_quota_back_before_its_last_worker_has_ended_is_found():
    story = Story().run("a").evict("a", "Preempted").pod("a", 0, gone=True).release("a").pod("a", 1, gone=True)
    assert [("unadmitted", "a")] == [(one.rule, one.gang) for one in story.judge.violations]


def test_a_gang_with_more_workers_than_it_was_admitted_with_is_found():
    story = Story().admit("a", pods=1).pod("a", 0).pod("a", 1)
    assert "2 workers hold nodes, and it has quota for 1" == story.judge.violations[0].text


# --- in part ---


def test_a_gang_that_is_in_part_for_too_long_is_found_with_its_numbers():
    story = Story().admit("a").wait(2).pod("a", 0).wait(10.5).pod("a", 1).finish("a").all_others("b", "c")
    assert [("partial", "a")] == story.verdict()
    (found,) = story.judge.violations
    assert 12.0 == found.at
    assert "for 10.50 s, from 2.00 s on, at most 1 of 2 workers had a node; it may be 10 s" == found.text


def test_a_gang_that_is_in_part_until_the_end_of_the_run_is_found():
    story = Story().all_others("b", "c").admit("a").pod("a", 0).wait(11)
    assert [("partial", "a"), ("unfinished", "a")] == story.verdict()


def test_a_gang_that_is_whole_in_time_is_not_and_its_time_is_kept():
    story = Story().admit("a").pod("a", 0).wait(9).pod("a", 1).wait(60).finish("a").all_others("b", "c")
    assert [] == story.verdict()
    assert (9.0, True) == (story.judge.spans[0].seconds, story.judge.spans[0].whole)


def test_a_gang_that_loses_a_worker_is_in_part_until_the_others_are_gone_too():
    story = Story().run("a").wait(5).pod("a", 1, gone=True).wait(12).pod("a", 0, gone=True)
    assert ["partial"] == [one.rule for one in story.judge.violations]
    assert not story.judge.spans[-1].whole


def test_a_failed_worker_leaves_its_gang_in_part_and_one_that_ended_well_does_not():
    for phase, expected in (("Failed", ["partial"]), ("Succeeded", [])):
        story = Story().run("a").pod("a", 1, phase).wait(11).pod("a", 0, "Succeeded")
        assert expected == [one.rule for one in story.judge.violations]


def test_the_workers_of_two_attempts_make_no_whole_gang():
    story = Story().run("a").pod("a", 1, gone=True).wait(1).pod("a", 1, attempt=1).wait(11)
    story.pod("a", 0, gone=True).pod("a", 0, attempt=1)
    assert [("partial", "a")] * 2 == [(one.rule, one.gang) for one in story.judge.violations]


def test_waiting_without_any_node_is_no_part():
    story = Story().admit("a").pod("a", 0, "Pending", bound=False).pod("a", 1, "Pending", bound=False).wait(99)
    story.pod("a", 0).wait(1).pod("a", 1)
    assert [1.0] == [span.seconds for span in story.judge.spans]


# --- the end ---


def test_a_job_that_says_complete_of_workers_that_nobody_saw_end_is_not_believed():
    story = Story().all_others("b", "c").run("a").pod("a", 0, "Succeeded").pod("a", 1, gone=True).job("a", "Complete")
    assert [("unfinished", "a")] == story.verdict()
    assert "never were 2 workers seen to end well" in story.judge.violations[0].text


def test_a_job_that_failed_or_was_deleted_is_not_finished_and_its_last_word_is_told():
    story = Story().all_others("b", "c").run("a").job("a", "Failed", told="out of memory")
    assert [("unfinished", "a")] == story.verdict()
    assert "2 of 2 workers placed; Failed, out of memory" == story.judge.violations[0].text


def test_a_run_without_preemption_shows_nothing_of_it():
    expected = msgspec.structs.replace(EXPECTED, preempts=True)
    assert [("untested", "the run")] == Story(expected).all_others("a", "b", "c").verdict()
    story = Story(expected).run("a").evict("a", "Preempted").pod("a", 0, gone=True).pod("a", 1, gone=True)
    story.release("a", "Preempted").all_others("b").run("a").finish("a").all_others("c")
    assert [] == story.verdict()
    assert ({"Preempted": 1}, 2) == (dict(story.judge.evictions), story.judge.admissions["a"])


def test_restarts_are_counted_by_their_reason():
    story = Story().job("a", "Running").job("a", "Pending", attempt=1, reason="Preempted")
    assert {"Preempted": 1} == dict(story.judge.restarts)


def test_something_that_is_of_no_gang_is_found():
    assert ["stranger"] == [one.rule for one in Story().pod("x", 0).judge.violations]


# --- order ---


def test_facts_of_several_watches_are_taken_in_the_order_of_the_writes_and_no_other():
    facts = [JobFact(version=version, at=0.0, name="a", gang="a") for version in (3, 1, 2)]
    assert [1, 2, 3] == [fact.version for fact in in_order(facts)]
    story = Story().job("a", "Pending")
    story.version = -1
    with pytest.raises(ValueError, match="version 0 after 1"):
        story.job("a", "Running")


def test_time_does_not_go_back_where_one_watch_is_read_later_than_another():
    story = Story().admit("a").wait(5).pod("a", 0).wait(-3).pod("a", 1)
    assert [0.0] == [span.seconds for span in story.judge.spans]
