from pathlib import Path

from bench import keys, page

COMMITTED = Path(page.TARGET).read_text()
NAMES = [f"{group}.{name}" for group, names in keys.KEYS.items() for name in names]


def row(text, name):
    return next((line for line in text.splitlines() if line.startswith(f"| `{name}` |")), None)


def test_the_committed_page_has_a_row_for_every_figure_with_its_goal():
    missing = [name for name in NAMES if row(COMMITTED, name) is None]
    assert [] == missing

    for name in NAMES:
        group, _, key = name.partition(".")
        assert f"| {keys.KEYS[group][key].says} | {keys.KEYS[group][key].goal} |" in row(COMMITTED, name)


def test_the_committed_page_has_the_head_that_is_written_today():
    assert COMMITTED.startswith(page.HEAD)


def test_a_figure_is_told_with_its_goal_and_its_command():
    details = {"h": {"keys": {"control_plane": {"handover_sigterm_seconds": 0.7}}, "command": "make bench ONLY=h"}}

    text = row(page.render({"details": details}), "control_plane.handover_sigterm_seconds")

    assert text.endswith("| at most 0.5 | 0.7 | **no** | `make bench ONLY=h` |")


def test_a_figure_that_was_not_measured_says_why_in_place_of_a_number():
    details = {"g": {"reasons": {"trainer.tokens_per_second_ratio_vs_bare": "no GPU here"}}}

    text = row(page.render({"details": details}), "trainer.tokens_per_second_ratio_vs_bare")

    assert text.endswith("| at least 0.99 | no GPU here | – | – |")


def test_a_bench_adds_tables_of_its_own():
    one = {"title": "Side by side", "columns": ["subject", "seconds"], "rows": [["Job", 2.345], ["a|b", None]]}

    text = page.render({"details": {"c": {"tables": [one | {"note": "5 rounds."}], "command": "make bench ONLY=c"}}})

    assert "## Side by side\n\n`make bench ONLY=c`\n\n| subject | seconds |\n| --- | --- |\n" in text
    assert "| Job | 2.35 |\n| a\\|b | – |\n\n5 rounds.\n" in text


def test_a_bench_is_told_with_machine_versions_load_and_commit():
    machine = {
        "cpus": 2,
        "cpu": "EPYC",
        "python": "3.11.7",
        "load1BeforeStart": 0.2,
        "versions": {"Kubernetes": "1.37.2"},
    }
    told = {"machine": machine, "date": "2026-11-27 16:00", "commit": "0123456789abcdef"}

    text = page.render({"details": {"c": told}})

    assert (
        "| c | 2026-11-27 16:00 | 2 x EPYC | 0.2 | Kubernetes 1.37.2, Python 3.11.7 | 0123456789 |" in text.splitlines()
    )


def test_numbers_keep_three_digits_and_no_exponent():
    assert ["0.0123", "12.3", "12,345", "12,345", "123457", "yes"] == [
        page.show(value) for value in (0.01234, 12.34, 12345, 12345.0, 123456.7, "yes")
    ]
