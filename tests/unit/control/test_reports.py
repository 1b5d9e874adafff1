from builders import at
from ganger.control.reports import Reports
from ganger.plan.live import LiveReport

KEY = ("team", "digits")


def report(worker=0, step=None, *, attempt=0, sequence=1, phase="Training", **more):
    return LiveReport(attempt=attempt, worker=worker, sequence=sequence, phase=phase, step=step, **more)


def take(reports, said, seconds=0.0, uid="uid-1"):
    reports.take(KEY, uid, f"pod-{said.attempt}-{said.worker}", said, at(seconds), seconds)


def live(reports, attempt=0, uid="uid-1"):
    return reports.live(KEY, uid, attempt)


def test_the_lowest_worker_that_knows_the_step_speaks():
    reports = Reports()
    take(reports, report(0, phase="Starting"))
    assert 0 == live(reports).report.worker

    take(reports, report(2, 7))
    take(reports, report(1, 6))
    assert (1, 6) == (live(reports).report.worker, live(reports).report.step)


def test_reports_of_another_attempt_or_job_are_not_shown():
    reports = Reports()
    take(reports, report(0, 7))

    assert live(reports, attempt=1) is None
    assert live(reports, uid="uid-2") is None
    assert reports.live(("team", "other"), "uid-1", 0) is None

    take(reports, report(0, 3, attempt=1))
    assert live(reports) is None
    assert 3 == live(reports, attempt=1).report.step


def test_a_job_of_the_same_name_starts_from_nothing():
    reports = Reports()
    take(reports, report(0, 7))
    take(reports, report(1, 1), uid="uid-2")

    assert live(reports) is None
    assert (1, 1) == (live(reports, uid="uid-2").report.worker, reports.num_workers)


def test_workers_are_counted_for_the_rate():
    reports = Reports()
    for worker in (0, 1, 1, 2):
        take(reports, report(worker, 1))
    assert 3 == reports.num_workers

    take(reports, report(0, 1, attempt=1))
    assert 1 == reports.num_workers
    reports.forget(KEY)
    reports.forget(KEY)
    assert 0 == reports.num_workers


def test_a_library_completes_what_the_supervisor_does_not_know():
    reports = Reports()
    take(reports, report(0, phase="Starting", sequence=3))
    reports.take_foreign(KEY, "uid-1", "pod-0-0", report(0, 30, total_steps=60, loss=0.5, metrics={"f1": 0.9}), at(1))
    said = live(reports).report

    assert ("Training", 3, 30, 60, 0.5) == (said.phase, said.sequence, said.step, said.total_steps, said.loss)
    assert {"f1": 0.9} == said.metrics

    take(reports, report(0, 31, sequence=4))
    assert 31 == live(reports).report.step, "a supervisor that knows the step needs no help"


def test_a_library_may_speak_alone():
    reports = Reports()
    reports.take_foreign(KEY, "uid-1", "pod-0-0", report(0, 30, total_steps=60, sequence=0), at(1))

    assert 30 == live(reports).report.step


def test_what_a_predecessor_in_the_same_place_said_is_forgotten():
    reports = Reports()
    reports.take_foreign(KEY, "uid-1", "pod-old", report(0, 30), at(1))
    reports.take(KEY, "uid-1", "pod-new", report(0), at(2), 2.0)

    assert live(reports).report.step is None


def test_the_end_is_estimated_across_a_restart():
    reports = Reports()
    for tick in range(1, 20):
        take(reports, report(0, 10 * tick, total_steps=400), 5.0 * tick)
    before = live(reports).eta
    take(reports, report(0, 150, total_steps=400, attempt=1), 120.0)
    after = live(reports, attempt=1).eta

    assert before.earliest < before.expected < before.latest
    assert after is not None, "what was learned of the pace outlives the attempt"
    assert after.expected > before.expected


def test_the_moment_of_a_step_is_that_of_its_first_report():
    reports = Reports()
    take(reports, report(0, 7), 5.0)
    take(reports, report(0, 7), 50.0)

    assert (at(5), at(50)) == (live(reports).step_at, live(reports).at)


def test_every_worker_is_heard_and_when_its_step_began():
    reports = Reports()
    take(reports, report(1, phase="Starting"), 1.0)
    take(reports, report(0, 7), 2.0)
    take(reports, report(0, 7, sequence=2), 7.0)
    heard = reports.heard(KEY, "uid-1", 0)

    assert [(0, 7, at(7.0), at(2.0)), (1, None, at(1.0), None)] == [
        (one.report.worker, one.report.step, one.at, one.step_at) for one in heard
    ]
    assert () == reports.heard(KEY, "uid-1", 1)
    assert () == reports.heard(KEY, "uid-2", 0)
