import json
import re
from pathlib import Path

import pytest

from ganger_dev import chromium, preview
from ganger_dev.errors import DevError

SOURCES = preview.sources()
PACKAGE = json.loads((SOURCES / "package.json").read_text())
LOCK = json.loads((SOURCES / "package-lock.json").read_text())["packages"]
DIRECT = PACKAGE["dependencies"] | PACKAGE["devDependencies"]
NOW = 1_764_000_000


class TestLibraries:
    @pytest.mark.parametrize("name", DIRECT)
    def test_each_is_pinned_to_the_version_of_the_lock(self, name):
        assert LOCK[f"node_modules/{name}"]["version"] == DIRECT[name]

    @pytest.mark.parametrize("name", DIRECT)
    def test_each_has_a_licence_that_permits_this_use(self, name):
        assert LOCK[f"node_modules/{name}"]["license"] in {"Apache-2.0", "MIT", "OFL-1.1"}

    def test_no_library_is_under_a_gnu_licence(self):
        assert [name for name, entry in LOCK.items() if "GPL" in entry.get("license", "")] == []

    def test_what_is_fetched_is_checked_by_its_digest_and_from_no_fixed_place(self):
        libraries = {name: entry for name, entry in LOCK.items() if name}

        assert [name for name, entry in libraries.items() if not entry["integrity"].startswith("sha512-")] == []
        assert [name for name, entry in libraries.items() if "resolved" in entry] == []


def panel(number, kind="timeseries", *, y=0, h=4, **more):
    return {
        "id": number,
        "type": kind,
        "title": f"panel {number}",
        "gridPos": {"x": 0, "y": y, "w": 12, "h": h},
        **more,
    }


def heights(panels):
    return {one["id"]: one["gridPos"]["y"] for one in panels}


class TestPlaces:
    def test_panels_of_open_rows_stay_where_they_are(self):
        board = {"panels": [panel(1, "row", h=1), panel(2, y=1), panel(3, y=5)]}

        assert heights(preview.placed(board)) == {1: 0, 2: 1, 3: 5}

    def test_a_collapsed_row_is_opened_and_what_is_below_moves_down(self):
        closed = panel(1, "row", h=1, panels=[panel(2, y=1, h=8), panel(3, y=9, h=4)])
        board = {"panels": [closed, panel(4, "row", y=1, h=1), panel(5, y=2)]}

        assert heights(preview.placed(board)) == {1: 0, 2: 1, 3: 9, 4: 13, 5: 14}

    def test_a_collapsed_rows_panels_may_keep_the_places_of_another_layout(self):
        board = {"panels": [panel(1, y=0), panel(2, "row", y=4, h=1, panels=[panel(3, y=40)])]}

        assert heights(preview.placed(board)) == {1: 0, 2: 4, 3: 5}

    def test_a_picture_is_as_high_as_its_lowest_panel(self):
        grid, gap = preview.CELL + preview.GAP, preview.GAP

        assert preview.height([panel(1, h=4), panel(2, y=4, h=6)]) == preview.HEADER + 10 * grid + gap

    def test_the_page_and_the_picture_agree_on_the_grid(self):
        page = (SOURCES / "src" / "index.tsx").read_text()

        found = {
            name: int(value) for name, value in re.findall(r"^const (CELL|GAP|HEADER) = (\d+);", page, re.MULTILINE)
        }
        assert found == {"CELL": preview.CELL, "GAP": preview.GAP, "HEADER": preview.HEADER}


class TestDocument:
    def test_no_text_of_a_board_ends_the_script(self):
        text = preview.document({"title": "</script><b>", "panels": []})

        assert "</script><b>" not in text
        assert r"\u003c/script>\u003cb>" in text

    def test_the_outcome_is_read_out_of_the_drawn_page(self):
        dom = '<script type="application/json" id="outcome">{"drawn":2,"empty":[7],"problems":["a &amp; b"]}</script>'

        assert preview.outcome(dom) == preview.Outcome(drawn=2, empty=(7,), problems=("a & b",))

    def test_a_page_that_never_came_to_its_end_is_an_error(self):
        with pytest.raises(DevError, match="it left no outcome"):
            preview.outcome(preview.document({"panels": []}))


class TestBuilding:
    def test_a_machine_without_node_is_told_what_to_install(self, monkeypatch, tmp_path):
        monkeypatch.setenv("GANGER_CACHE", str(tmp_path))
        monkeypatch.setenv("PATH", "")

        with pytest.raises(DevError, match=r"npm is not on PATH\. Install Node\.js"):
            preview.ensure_page()


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """The document of a small board with one panel of each kind, as Chromium drew it, and its picture."""
    if not preview.page().exists() or chromium.find() is None:
        pytest.skip("the preview is not built: `make dashboards` builds it")
    picture = tmp_path_factory.mktemp("preview") / "board.png"
    return preview.render(BOARD, picture), picture


def defaults(**more):
    return {"fieldConfig": {"defaults": more, "overrides": []}}


def over_time(labels, values):
    return {"metric": labels, "values": [[NOW - 60 + 15 * index, value] for index, value in enumerate(values)]}


def at_once(labels, value):
    return {"metric": labels, "value": [NOW, value]}


def answer(series, step=15):
    return {"expr": "up", "stepSeconds": step, "series": series}


THRESHOLDS = {"mode": "absolute", "steps": [{"color": "green", "value": None}, {"color": "red", "value": 100}]}
TABLE = [{"refId": name, "expr": "up", "format": "table", "instant": True} for name in "AB"]
ORGANIZE = {"excludeByName": {"Time": True, "Value #A": True}, "renameByName": {"Value #B": "Progress"}}
BOARD = {
    "title": "Small board",
    "panels": [
        panel(1, targets=[{"refId": "A", "expr": "x", "legendFormat": "rank {{rank}} {{none}}"}], **defaults(unit="s")),
        panel(2, "stat", y=4, targets=[{"refId": "A", "expr": "up"}], **defaults(unit="s", thresholds=THRESHOLDS)),
        panel(3, "table", y=8, h=6, targets=TABLE, **defaults(unit="percentunit"),
              transformations=[{"id": "merge", "options": {}}, {"id": "organize", "options": ORGANIZE}]),
        panel(4, "bargauge", y=14, targets=[{"refId": "A", "expr": "up", "legendFormat": "__auto", "instant": True}],
              options={"orientation": "horizontal"}, **defaults(unit="bytes")),
        panel(5, "text", y=18, options={"mode": "markdown", "content": "of **$namespace**"}),
        panel(6, y=22, targets=[{"refId": "A", "expr": "up"}]),
        panel(7, "stat", y=26, targets=[{"refId": "A", "expr": "up"}]),
        panel(8, "table", y=30, targets=TABLE[:1], transformations=[{"id": "unheardOf", "options": {}}]),
        panel(9, "heatmap", y=34, targets=[{"refId": "A", "expr": "up"}]),
    ],
    "answers": {
        "1": {"A": answer([over_time({"rank": "0"}, ["1", "2", "NaN", "+Inf", "3"])])},
        "2": {"A": answer([over_time({}, ["100", "200", "300"])])},
        "3": {"A": answer([at_once({"training_job": "digits", "phase": "Running"}, "1")], 0),
              "B": answer([at_once({"training_job": "digits"}, "0.25")], 0)},
        "4": {"A": answer([at_once({"gpu": "0", "pod": "a"}, "2048"), at_once({"gpu": "1", "pod": "a"}, "1024")], 0)},
        "7": {"A": answer([over_time({}, ["NaN", "NaN"])])},
        "8": {"A": answer([at_once({}, "1")], 0)},
        "9": {"A": answer([over_time({}, ["1"])])},
    },
    "annotations": [{"name": "restart", "color": "red", "from": (NOW - 30) * 1000, "to": (NOW - 30) * 1000}],
    "variables": [{"label": "Namespace", "value": "team-a"}],
    "values": {"namespace": "team-a"},
    "range": {"from": (NOW - 60) * 1000, "to": NOW * 1000},
}  # fmt: skip


class TestDrawnBoard:
    def test_a_picture_of_the_size_of_the_board_is_left(self, drawn):
        header = drawn[1].read_bytes()[:24]

        size = int.from_bytes(header[16:20]), int.from_bytes(header[20:24])
        assert size == (preview.WIDTH, preview.height(BOARD["panels"]))

    def test_panels_without_data_are_told(self, drawn):
        assert preview.outcome(drawn[0]).empty == (6, 7)
        assert drawn[0].count("No data") == 2

    def test_what_cannot_be_drawn_is_a_problem(self, drawn):
        assert preview.outcome(drawn[0]).problems == (
            "panel 8: transformation unheardOf is unknown",
            "panel 9: panels of type heatmap cannot be drawn",
        )

    def test_a_legend_names_series_by_their_labels(self, drawn):
        assert ">rank 0 <" in drawn[0]

    def test_series_with_automatic_names_are_named_by_all_their_labels(self, drawn):
        assert {'>{gpu="0", pod="a"}<', '>{gpu="1", pod="a"}<'} <= set(re.findall(r">[^<>]*<", drawn[0]))

    def test_numbers_have_the_panels_unit(self, drawn):
        text = re.sub(r"<[^>]*>", "", drawn[0])

        assert "5 mins" in text
        assert "2 KiB" in text

    def test_a_number_has_the_colour_of_its_threshold(self, drawn):
        assert re.search(r"color: rgb\(242, 73, 92\)[^>]*>(<[^>]*>)*5", drawn[0])

    def test_tables_are_merged_and_their_columns_renamed(self, drawn):
        text = re.sub(r"<[^>]*>", " ", drawn[0])

        assert re.search(r"phase\s+training_job\s+Progress\s+Running\s+digits\s+25%", text)

    def test_variables_are_shown_and_put_into_text(self, drawn):
        assert re.search(r"Namespace</span>team-a", drawn[0])
        assert "of <strong>team-a</strong>" in drawn[0]


def test_chromium_is_called_without_its_sandbox_only_by_root():
    words = [
        chromium.command(Path("/c"), "http://x", Path("/p.png"), width=8, height=9, profile=Path("/q"), root=root)
        for root in (True, False)
    ]

    assert [word for word in words[0] if word not in words[1]] == ["--no-sandbox"]
    assert {"--window-size=8,9", "--screenshot=/p.png"} <= set(words[1])


def test_a_machine_without_chromium_is_told_what_to_install(monkeypatch):
    monkeypatch.setenv("PATH", "")

    with pytest.raises(DevError, match="apt-get install chromium"):
        chromium.ensure()
