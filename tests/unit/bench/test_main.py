from bench.__main__ import command


def test_the_command_that_is_told_repeats_what_was_asked_for():
    environment = {"HOME": "/root", "GANGER_BENCH_TRIALS": "5", "GANGER_BENCH_SIZES": "50x4*1 10x1*1"}
    environment["GANGER_BENCH_RESUME"] = "1"

    assert "GANGER_BENCH_SIZES='50x4*1 10x1*1' GANGER_BENCH_TRIALS=5 make bench ONLY=fleet" == command(
        "fleet", environment
    )


def test_a_bench_that_was_asked_for_nothing_is_its_name_alone():
    assert "make bench ONLY=fleet" == command("fleet", {"HOME": "/root"})
