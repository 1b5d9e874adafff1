import pytest
from bench import keys, page, sidebyside
from bench.sidebyside import Turn

FLOOR = {"runningSeconds": 10.0, "createdSeconds": 8.0, "planeCpuSeconds": 20.0, "requests": {}}
GANGER = {
    "runningSeconds": 12.0, "createdSeconds": 9.0, "planeCpuSeconds": 24.0, "controllerRequestsPerJob": 12.0,
    "controllerWritesPerJob": 11.0, "controllerCpuSeconds": 3.0, "ownWritesPerJob": 10.2, "idleWritesPerMinute": 0.0,
    "rssPeakMiB": {"ganger": 61.0}, "requests": {"ganger: create pods": 8.0},
}  # fmt: skip
TRAINER = {
    "runningSeconds": 60.0, "createdSeconds": 54.0, "planeCpuSeconds": 96.0, "controllerRequestsPerJob": 60.0,
    "controllerWritesPerJob": 44.0, "controllerCpuSeconds": 24.0, "ownWritesPerJob": None,
    "rssPeakMiB": {"jobset": 100.0, "trainer": 50.0}, "requests": {"trainer: patch jobsets": 1.0},
}  # fmt: skip


def burst(subject, result, number=0, size="200x8", setting="tuned", **turn):
    return Turn(setting=setting, kind="burst", size=size, round=number, subject=subject, result=result, **turn)


def around(number=0, factor=1.0, size="200x8"):
    floor = FLOOR | {"runningSeconds": 10.0 * factor}
    return [
        burst("floor", floor, number, size),
        burst("ganger", GANGER, number, size),
        burst("trainer", TRAINER, number, size),
    ]


def test_the_figures_are_medians_of_ratios():
    found, reasons = sidebyside.figures([*around(0), *around(1), *around(2)])

    assert {
        "create_speedup_vs_trainer": 6.0,
        "share_of_floor": pytest.approx(10 / 12, abs=0.001),
        "added_requests_ratio_vs_trainer": 5.0,
        "cpu_per_pod_ratio_vs_floor": 1.2,
        "writes_ratio_vs_trainer": 4.0,
        "cpu_seconds_ratio_vs_trainer": 8.0,
        "writes_per_job": 10.2,
        "idle_writes_per_minute": 0.0,
    }.items() <= found.items()
    assert {"failure_to_replacement_p50_seconds", "reconcile_p99_seconds"} == set(reasons)


def test_every_figure_is_a_promised_one():
    found, reasons = sidebyside.figures([])

    assert set(found) == set(reasons)
    assert set(found) <= set(keys.KEYS["control_plane"])


def test_a_round_with_an_uneven_floor_counts_for_nothing_and_is_told():
    rounds = [*around(0), *around(1), *around(2, factor=1.4), *around(3)]

    found, _ = sidebyside.figures(rounds)

    assert pytest.approx(10 / 12, abs=0.001) == found["share_of_floor"]
    assert "Left out, the floor was off by more than 30 %: rounds 2." in sidebyside.tables(rounds)[0]["note"]


def test_a_small_run_makes_no_claim():
    waits = {"firstPodSeconds": [0.02] * 50, "runningSeconds": [0.05] * 50}
    loaded = Turn(setting="tuned", kind="loaded", size="10x4", subject="ganger", result=waits)
    small = [turn for number in range(5) for turn in around(number, size="10x4")]

    found, reasons = sidebyside.figures([*small, loaded])

    assert {None} == set(found.values())
    assert "3 rounds of 200x8" in reasons["create_speedup_vs_trainer"]
    assert "`loaded` with 200x8" in reasons["reconcile_p99_seconds"]


def test_two_rounds_are_no_ratio_to_promise():
    found, _ = sidebyside.figures([*around(0), *around(1)])

    assert found["create_speedup_vs_trainer"] is None


def test_the_99th_percentile_under_load_is_of_the_main_size():
    waits = {"firstPodSeconds": [0.02] * 99 + [0.3], "runningSeconds": [0.05] * 100}
    loaded = Turn(setting="tuned", kind="loaded", size="200x8", subject="ganger", result=waits)

    assert 0.02 == sidebyside.figures([loaded])[0]["reconcile_p99_seconds"]


def test_a_peer_that_did_not_run_is_null_with_its_reason_and_ours_stay():
    floor, ganger, _ = around()
    turns = [floor, ganger, burst("trainer", {}, error="trainer: building it failed")]

    found, reasons = sidebyside.figures(turns)

    assert found["create_speedup_vs_trainer"] is None
    assert "building it failed" in reasons["create_speedup_vs_trainer"]
    assert 10.2 == found["writes_per_job"]
    assert "Kubeflow Trainer, burst 0: trainer: building it failed" in sidebyside.tables(turns)[0]["note"]


def test_a_ratio_is_of_rounds_that_have_both():
    floor, ganger, trainer = around(0)
    half = burst("ganger", GANGER | {"createdSeconds": 1.0}, 1)

    rounds = sidebyside.Rounds([floor, ganger, trainer, half], "tuned", "200x8")

    assert 1 == rounds.ratio("createdSeconds", "trainer", "ganger").rounds


def test_a_failure_without_replacement_is_no_short_one():
    def failed(*seconds):
        result = {"replacementSeconds": list(seconds), "wholeSeconds": [None] * len(seconds), "podsMade": [0]}
        return [Turn(setting="tuned", kind="failures", subject="ganger", result=result)]

    most, fewest = [0.1] * 6 + [None] * 4, [0.1] * 4 + [None] * 6
    assert 0.1 == sidebyside.figures(failed(*most))[0]["failure_to_replacement_p50_seconds"]
    assert sidebyside.figures(failed(*fewest))[0]["failure_to_replacement_p50_seconds"] is None


def test_the_tables_have_as_many_cells_as_columns_and_can_be_drawn():
    waits = {"firstPodSeconds": [0.02, 0.03], "runningSeconds": [0.05, 0.06]}
    failed = {"replacementSeconds": [0.1], "wholeSeconds": [0.2], "podsMade": [4]}
    turns = [
        *around(),
        *around(size="50x8"),
        Turn(setting="tuned", kind="latency", subject="ganger", result=waits),
        Turn(setting="tuned", kind="loaded", size="200x8", subject="trainer", error="it did not run"),
        Turn(setting="tuned", kind="failures", subject="ganger", result=failed),
    ]

    tables = sidebyside.tables(turns)

    assert [
        "200 jobs x 8 pods, raised limits",
        "50 jobs x 8 pods, raised limits",
        "Submit to pods, tuned",
        "Failure to replacement, tuned",
        "Growth, tuned",
        "Requests of controllers for each job, 200x8, raised limits",
    ] == [table["title"] for table in tables]
    assert [] == [table["title"] for table in tables for row in table["rows"] if len(row) != len(table["columns"])]
    assert "| Kubeflow Trainer | 54 | 60 |" in page.render({"details": {"control_plane": {"tables": tables}}})
