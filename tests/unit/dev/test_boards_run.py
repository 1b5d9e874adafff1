import math
import re

import pytest

from ganger_dev import boards_run
from ganger_dev.dashboards import dcgm
from ganger_dev.dashboards.answers import Answer, Window, ask, lacking, marks, next_mark
from ganger_dev.errors import DevError
from ganger_dev.prometheus import RefusedError

HOUR = Window(start=3600, end=7200, scrape=15)
ONE = [{"metric": {}, "values": [[7200, "1"]]}]


def prometheus(**results):
    """A stand-in for a Prometheus that finds `results` by the query and records what it was asked."""
    asked = []

    def get(path, **parameters):
        asked.append((path, parameters))
        found = results.get(parameters["query"], [])
        if found == "refused":
            raise RefusedError("Prometheus refused query", "parse error", "Mend it.")
        if isinstance(found, tuple):
            return {"resultType": "scalar", "result": list(found)}
        return {"resultType": "matrix", "result": found}

    return get, asked


def board(*targets, marks=(), width=24):
    grid = {"x": 0, "y": 0, "w": width, "h": 8}
    panel = {"id": 3, "type": "timeseries", "title": "Loss", "gridPos": grid, "targets": list(targets)}
    return {"uid": "b", "title": "B", "panels": [panel], "annotations": {"list": list(marks)}}


def target(expr, ref="A", **more):
    return {"refId": ref, "expr": expr, **more}


def answer(series=(), *, error="", panel=3, ref="A", step=15):
    return Answer(board="b", panel=panel, title="Loss", ref=ref, expr="x", step=step, series=series, error=error)


class TestWindow:
    @pytest.mark.parametrize(("columns", "scrape", "step"), [(24, 15, 15), (24, 1, 3), (1, 15, 55), (24, 60, 60)])
    def test_a_panel_gets_a_point_a_pixel_and_never_more_than_were_scraped(self, columns, scrape, step):
        assert Window(start=0, end=3600, scrape=scrape).step(columns) == step

    @pytest.mark.parametrize(("step", "rate"), [(15, "60s"), (45, "60s"), (300, "315s")])
    def test_the_rate_interval_holds_four_scrapes_and_a_scrape_more_than_the_step(self, step, rate):
        assert HOUR.values(step) == {"__interval": f"{step}s", "__rate_interval": rate, "__range": "3600s"}


class TestAsk:
    def test_lines_are_asked_over_the_window_from_a_multiple_of_the_step(self):
        get, asked = prometheus(up=ONE)

        (found,) = ask(get, board(target("up")), {}, Window(start=3607, end=7200, scrape=15))

        assert asked == [("query_range", {"query": "up", "start": "3600", "end": "7200", "step": "15"})]
        assert (found.name, found.panel, found.step, found.has_data) == ("b / Loss / A", 3, 15, True)

    def test_numbers_are_asked_at_the_end_of_the_window(self):
        get, asked = prometheus()

        (found,) = ask(get, board(target("up", instant=True)), {}, HOUR)

        assert asked == [("query", {"query": "up", "time": "7200"})]
        assert (found.step, found.has_data) == (0, False)

    def test_variables_are_filled_in_and_those_of_the_caller_go_first(self):
        get, asked = prometheus()

        ask(
            get,
            board(target('rate(x{namespace="$namespace", job="$job"}[$__rate_interval])')),
            {"namespace": "a"},
            HOUR,
        )

        assert asked[0][1]["query"] == 'rate(x{namespace="a", job=".+"}[60s])'

    def test_annotations_are_asked_as_well(self):
        get, _ = prometheus(restarts=ONE)

        found = ask(get, board(marks=[{"name": "Restart", "expr": "restarts", "iconColor": "red"}]), {}, HOUR)

        assert [(one.name, one.panel, one.has_data) for one in found] == [("b / annotation / Restart", 0, True)]

    def test_annotations_are_asked_each_minute_as_grafana_does_however_often_is_scraped(self):
        get, asked = prometheus()

        ask(get, board(marks=[{"name": "Restart", "expr": "x offset $__rate_interval", "iconColor": "red"}]), {}, HOUR)

        assert (asked[0][1]["query"], asked[0][1]["step"]) == ("x offset 240s", "60")

    def test_a_refused_query_is_an_answer_with_the_reason(self):
        get, _ = prometheus(up="refused")

        (found,) = ask(get, board(target("up")), {}, HOUR)

        assert (found.error, found.has_data) == ("Prometheus refused query: parse error. Mend it.", False)

    def test_a_scalar_is_a_series_without_labels(self):
        get, _ = prometheus(one=(7200, "1"))

        (found,) = ask(get, board(target("one", instant=True)), {}, HOUR)

        assert found.series == [{"metric": {}, "value": [7200, "1"]}]


class TestLacking:
    def test_a_number_is_enough(self):
        assert lacking([answer([{"metric": {}, "value": [1, "0"]}])], {}) == []

    def test_nothing_only_nan_and_a_refusal_are_told_apart(self):
        found = lacking([answer(), answer([{"metric": {}, "values": [[1, "NaN"]]}]), answer(error="refused")], {})

        assert found == [
            "b / Loss / A: nothing found: x",
            "b / Loss / A: only NaN found: x",
            "b / Loss / A: refused: x",
        ]

    @pytest.mark.parametrize("name", ["b / Loss", "b / Loss / A"])
    def test_what_is_allowed_may_be_empty_but_not_refused(self, name):
        assert lacking([answer()], {name: "a reason"}) == []
        assert len(lacking([answer(error="refused")], {name: "a reason"})) == 1

    def test_another_query_of_the_panel_is_not_allowed_with_it(self):
        assert len(lacking([answer(ref="B")], {"b / Loss / A": "a reason"})) == 1


class TestMarks:
    def test_what_is_known_is_marked_at_the_next_whole_minute(self):
        assert [60.0, 60.0, 120.0] == [next_mark(moment) for moment in (0.0, 59.9, 60.0)]

    def test_neighbouring_samples_above_zero_are_one_stretch(self):
        series = {"metric": {}, "values": [[0, "1"], [15, "2"], [30, "0"], [45, "NaN"], [60, "1"]]}

        found = marks([answer([series], panel=0, ref="Restart")], {"Restart": "red"})

        assert [(one["from"], one["to"], one["color"]) for one in found] == [
            (0, 15_000, "red"),
            (60_000, 60_000, "red"),
        ]

    def test_an_annotation_that_is_switched_off_is_not_drawn(self):
        assert marks([answer(ONE, panel=0, ref="Checkpoint")], {"Restart": "red"}) == []


class TestCheck:
    def test_every_query_of_the_shipped_boards_is_asked(self):
        get, asked = prometheus()

        def found(path, **parameters):
            get(path, **parameters)
            return {"resultType": "matrix", "result": ONE}

        answers = boards_run.check(found, HOUR)

        assert set(answers) == {"ganger-fleet", "ganger-gpu", "ganger-job", "ganger-operator"}
        assert len(asked) == sum(map(len, answers.values())) > 100

    def test_queries_without_data_are_named_with_the_remedy(self):
        get, _ = prometheus()

        with pytest.raises(
            DevError, match=r"(?s)ganger-fleet / Running / A: nothing found.*allow it with a reason"
        ) as caught:
            boards_run.check(get, HOUR, allowed={"ganger-operator / Caches in doubt": "only trouble has it"})
        assert "ganger-operator / Caches in doubt" not in str(caught.value)

    def test_only_queries_that_exist_are_allowed_to_be_empty(self):
        get, _ = prometheus()
        names = {one.name for shown in boards_run.shipped() for one in ask(get, shown, {}, HOUR)}

        assert set(boards_run.MAY_BE_EMPTY) <= names | {name.rpartition(" / ")[0] for name in names}
        assert all(boards_run.MAY_BE_EMPTY.values())


class TestPage:
    def test_answers_are_found_by_panel_and_ref(self):
        found = boards_run.page(board(target("up")), [answer(ONE)], {}, HOUR)

        assert found["answers"] == {"3": {"A": {"expr": "x", "stepSeconds": 15, "series": ONE}}}
        assert found["range"] == {"from": 3_600_000, "to": 7_200_000}

    @pytest.mark.parametrize(("switch", "drawn"), [({}, 1), ({"enable": True}, 1), ({"enable": False}, 0)])
    def test_a_mark_is_drawn_unless_the_board_switches_it_off(self, switch, drawn):
        shown = board(marks=[{"name": "Restart", "expr": "x", "iconColor": "red"} | switch])

        found = boards_run.page(shown, [answer(ONE, panel=0, ref="Restart")], {}, HOUR)

        assert len(found["annotations"]) == drawn

    def test_a_variable_without_a_value_stands_for_all(self):
        variables = [{"type": "query", "name": name, "label": name.title()} for name in ("namespace", "job")]
        shown = board() | {"templating": {"list": [{"type": "datasource", "name": "datasource"}, *variables]}}

        found = boards_run.page(shown, [], {"namespace": "a"}, HOUR)

        assert found["variables"] == [{"label": "Namespace", "value": "a"}, {"label": "Job", "value": "All"}]


def test_variables_of_the_command_line_are_name_and_expression():
    assert boards_run.assignments(["job=a=b", "namespace=.+"]) == {"job": "a=b", "namespace": ".+"}
    with pytest.raises(DevError, match="--var x is not understood"):
        boards_run.assignments(["x"])


class TestSampleOfGpus:
    TEXT = dcgm.exposition("team-a", ("digits-0-0", "digits-0-1"), "node-1")

    def test_nothing_is_left_to_fill_in_and_the_note_on_its_making_is_not_served(self):
        assert "@" not in self.TEXT
        assert "hand-made" in dcgm.SAMPLE.read_text().splitlines()[0]
        assert "hand-made" not in self.TEXT

    def test_two_workers_have_gpus_and_one_gpu_is_free(self):
        lines = [line for line in self.TEXT.splitlines() if line.startswith("DCGM_FI_DEV_GPU_UTIL{")]

        pods = [line.partition('pod="')[2].partition('"')[0] for line in lines]
        assert pods == ["digits-0-0", "digits-0-0", "digits-0-1", ""]

    def test_every_value_is_a_number(self):
        values = [float(line.rpartition(" ")[2]) for line in self.TEXT.splitlines() if not line.startswith("#")]

        assert len(values) == 4 * self.TEXT.count("# TYPE")
        assert all(map(math.isfinite, values))

    def test_it_has_every_metric_that_the_board_asks_for(self):
        exprs = str([shown for shown in boards_run.shipped() if shown["uid"] == "ganger-gpu"])

        assert set(re.findall(r"DCGM_FI_\w+", exprs)) - set(re.findall(r"# TYPE (\w+)", self.TEXT)) == set()
