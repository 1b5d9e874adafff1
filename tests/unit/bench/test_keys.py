import pytest
from bench import keys

HANDOVER = {"keys": {"control_plane": {"handover_sigterm_seconds": 0.05}}, "command": "make bench ONLY=handover"}


def test_every_figure_is_there_and_says_why_it_is_not_measured():
    told = keys.assemble({})

    assert {group: set(names) for group, names in keys.KEYS.items()} == {group: set(told[group]) for group in keys.KEYS}
    assert {None} == {value for group in keys.KEYS for value in told[group].values()}
    assert {f"{group}.{name}" for group, names in keys.KEYS.items() for name in names} == set(told["reasons"])


def test_a_figure_has_its_source_and_no_reason():
    told = keys.assemble({"handover": HANDOVER})

    assert 0.05 == told["control_plane"]["handover_sigterm_seconds"]
    assert {
        "control_plane.handover_sigterm_seconds": {"bench": "handover", "command": "make bench ONLY=handover"}
    } == told["sources"]
    assert "control_plane.handover_sigterm_seconds" not in told["reasons"]


def test_the_later_of_two_figures_holds_whatever_their_order():
    older = HANDOVER | {"date": "2026-11-27 10:00"}
    newer = {"keys": {"control_plane": {"handover_sigterm_seconds": 0.07}}, "date": "2026-11-27 11:00"}

    told = keys.assemble({"newer": newer, "older": older})

    assert 0.07 == told["control_plane"]["handover_sigterm_seconds"]


def test_a_null_of_a_later_bench_hides_no_number():
    path = "control_plane.handover_sigterm_seconds"
    null = {
        "keys": {"control_plane": {"handover_sigterm_seconds": None}},
        "reasons": {path: "no second operator"},
        "date": "2026-11-28 10:00",
    }

    told = keys.assemble({"handover": HANDOVER | {"date": "2026-11-27 10:00"}, "other": null})

    assert 0.05 == told["control_plane"]["handover_sigterm_seconds"]


def test_a_null_alone_keeps_its_reason():
    path = "trainer.tokens_per_second_ratio_vs_bare"
    told = keys.assemble({"gpu": {"reasons": {path: "no GPU here"}}})

    assert told["trainer"]["tokens_per_second_ratio_vs_bare"] is None
    assert "no GPU here" == told["reasons"][path]


@pytest.mark.parametrize(
    ("result", "says"),
    [
        ({"keys": {"control_plane": {"speed": 1}}}, "no figure control_plane.speed"),
        ({"keys": {"trainer": {"overhead_percent": "1 %"}}}, "give a number"),
        ({"keys": {"trainer": {"overhead_percent": True}}}, "give a number"),
        ({"keys": {"trainer": {"overhead_percent": float("nan")}}}, "no number"),
        ({"keys": {"trainer": {"overhead_percent": None}}}, "without a reason"),
        ({"reasons": {"trainer.speed": "none"}}, "no figure trainer.speed"),
    ],
)
def test_what_a_bench_may_not_say_is_refused_by_name(result, says):
    with pytest.raises(ValueError, match=says):
        keys.check(result)


def test_a_number_and_a_null_with_its_reason_are_taken():
    path = "trainer.tokens_per_second_ratio_vs_bare"
    result = {
        "keys": {"trainer": {"overhead_percent": 0.3, "tokens_per_second_ratio_vs_bare": None}},
        "reasons": {path: "no GPU here"},
    }

    keys.check(result)

    told = keys.assemble({"trainer": result})
    assert (0.3, None) == (
        told["trainer"]["overhead_percent"],
        told["trainer"]["tokens_per_second_ratio_vs_bare"],
    )


@pytest.mark.parametrize(("value", "holds"), [(0.79, False), (0.8, True), (1.2, True)])
def test_a_goal_holds_at_its_bound(value, holds):
    assert holds is keys.KEYS["control_plane"]["share_of_floor"].holds(value)
