"""What a run says at its end."""

from fractions import Fraction

from ganger_dev.gangs.facts import JobFact, PodFact, WorkloadFact
from ganger_dev.gangs.summary import figures, last_states, table
from unit.dev.gangs.sequences import EXPECTED, GPU, Story


def test_the_table_tells_counts_times_and_each_violation():
    story = Story().job("a", "Pending").admit("a").pod("a", 0).wait(11).pod("a", 1).finish("a")
    story.job("b", "Running").run("b").evict("b", "Preempted").pod("b", 0, gone=True).pod("b", 1, gone=True)
    story.release("b", "Preempted").run("b").job("b", "Pending", attempt=1, reason="Preempted")
    story.verdict()
    found = figures(story.judge, EXPECTED)
    text = "\n".join(table(found))

    assert (1, 3, 11.0, 1) == (found["complete"], found["gangs"], found["secondsToFinish"], found["requeues"])
    assert {"quota": 4.0, "mostAdmitted": 2.0, "mostOnNodes": 2.0} == found["queues"]["north"][GPU]
    assert (11.0, 0.0) == (found["partialSecondsWhileStarting"], found["partialSecondsWhileStopping"])
    assert "1 of 3 gangs Complete, the last after 11 s" in text
    assert "evictions by Kueue: 1 Preempted; admissions after the first: 1" in text
    assert "new attempts: 1 Preempted" in text
    assert "VIOLATION partial: a at 10.00 s: for 11.00 s" in text
    assert "VIOLATION unfinished: c at 11.00 s: 0 of 2 workers placed; it was never seen" in text


def test_the_last_states_name_what_stood_still():
    jobs = {
        "a": JobFact(version=1, at=0.0, name="a", gang="a", phase="Complete"),
        "b": JobFact(version=2, at=0.0, name="b", gang="b", phase="Pending", told="waiting for nodes"),
    }
    workloads = [WorkloadFact(version=3, at=0.0, name="w", gang="b", told="Admitted True (Admitted): ")]
    pods = [
        PodFact(version=4, at=0.0, name="b-0-0", gang="b", bound=True, phase="Running"),
        PodFact(version=5, at=0.0, name="b-0-1", gang="b", requests={GPU: Fraction(1)}),
    ]
    assert [
        "gangs: 1 Complete, 1 Pending, 1 not submitted",
        "pods: 1 Pending without a node, 1 Running",
        "  b: Pending, attempt 0, waiting for nodes",
        "    pods: 1 Pending without a node, 1 Running; Workload: Admitted True (Admitted): ",
    ] == list(last_states(EXPECTED, jobs, workloads, pods))
