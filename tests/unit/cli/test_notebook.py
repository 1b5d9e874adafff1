"""`--from-notebook`: which cells become the code of a job, what is refused with its place, and what is sent."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ganger.cli import notebook
from ganger.cli.closure import closure
from ganger.cli.notebook import Cell
from ganger.kube.errors import Forbidden


@pytest.fixture
def write(tmp_path):
    """Write a notebook of code cells; a pair is source and tags. Returns its path."""

    def write(*cells, name="try.ipynb"):
        body = []
        for cell in cells:
            source, *tags = (cell,) if isinstance(cell, str) else cell
            body.append({
                "cell_type": "code",
                "execution_count": 1,
                "metadata": {"tags": tags},
                "outputs": [{"output_type": "stream", "name": "stdout", "text": ["secret output\n"]}],
                "source": source.splitlines(keepends=True),
            })  # fmt: skip
        text = {"cell_type": "markdown", "metadata": {}, "source": ["# %% a heading"]}
        path = tmp_path / name
        path.write_text(json.dumps({"cells": [text, *body], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
        return str(path)

    return write


def code_of(ganger):
    (found,) = [item for (plural, _), item in ganger.cluster.objects.items() if plural == "configmaps"]
    (text,) = found["data"].values()
    return found, text


def test_the_cells_are_the_script_of_a_job_that_owns_them(ganger, write):
    said = ganger("submit", "--from-notebook", write("x = 1\n", "print(x)", name="My Try.ipynb"))

    assert (0, "my-try submitted\n") == (said.code, said.out), said.err
    carried, text = code_of(ganger)
    job = ganger.cluster.objects["trainingjobs", "my-try"]
    assert {"script": ["-m", "my_try_notebook"], "code": {"configMap": {"name": carried["metadata"]["name"]}}} == (
        job["spec"]
    )
    assert ["my_try_notebook.py"] == list(carried["data"])
    assert "# --- cell 2 ---\nx = 1\n\n# --- cell 3 ---\nprint(x)\n" in text
    assert "secret output" not in text
    assert [{"apiVersion": "ganger.dev/v1alpha1", "kind": "TrainingJob", "name": "my-try", "uid": "my-try-uid"}] == (
        carried["metadata"]["ownerReferences"]
    )
    assert carried["immutable"]


def test_the_manifest_says_the_rest_and_may_name_other_work(ganger, write, manifest):
    said = ganger("submit", "--from-notebook", write("x = 1"), "-f", manifest(), "--name", "other")

    assert 0 == said.code, said.err
    spec = ganger.cluster.objects["trainingjobs", "other"]["spec"]
    assert (2, ["-m", "try_notebook"], False) == (spec["workers"], spec["script"], "task" in spec)
    assert "the notebook takes the place of spec.task of " in said.err


def test_marked_cells_are_the_job_where_there_are_any_and_skipped_ones_never(ganger, write):
    ganger("submit", "--from-notebook", write("a = 1", ("b = 2", "job"), "# ganger: job\nc = 3"))
    _, text = code_of(ganger)
    assert ("a = 1" in text, "b = 2" in text, "c = 3" in text) == (False, True, True)

    cells = [Cell(1, "a"), Cell(2, "b", frozenset({"skip"})), Cell(3, "\n# ganger: skip\nc")]
    assert [1] == [cell.number for cell in notebook.chosen(cells)]


def test_a_function_comes_with_what_it_needs_and_nothing_else(ganger, write):
    path = write(
        "import json, os\nimport math as m\n!pip install lots",
        "SIZE = 3\nsize = SIZE * 2\nprint(size)",
        "def helper(n):\n    return m.sqrt(n) + size\n\ndef other(): return os",
        "def main(count: int = SIZE):\n    print('main', helper(count), [i for i in range(count)])\n",
        "main()",
    )

    said = ganger("submit", "--from-notebook", path, "--function", "main")

    assert 0 == said.code, said.err
    _, text = code_of(ganger)
    assert "cell 2, line 3: !pip runs in a notebook only and is left out" in said.err
    for there in ("import math as m", "SIZE = 3", "size = SIZE * 2", "def helper", "def main", "    main()\n"):
        assert there in text
    for left in ("json", "print(size)", "def other", "pip"):
        assert left not in text
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert "main 7.73" in done.stdout


def test_a_task_of_the_notebook_is_that_of_the_loop(ganger, write):
    said = ganger(
        "submit", "--from-notebook", write("class Config: pass\ndef task():\n    return Config"), "--task", "task"
    )

    assert 0 == said.code, said.err
    assert "try_notebook:task" == ganger.cluster.objects["trainingjobs", "try"]["spec"]["task"]


@pytest.mark.parametrize(
    "source, line, text",
    [
        ("x = 1\n!pip install y", 2, "!pip runs in a notebook only"),
        ("%%bash\nls", 1, "%%bash makes the cell something else than Python"),
        ("files = !ls", 1, "!ls runs in a notebook only"),
        ("def f(:\n  pass", 1, "Python cannot read it: invalid syntax"),
        ("if True:\n    x = (\n", 2, "Python cannot read it: '(' was never closed"),
        ("\nget_ipython().system('ls')", 2, "get_ipython() is there in a notebook only"),
        ("await f()", 1, "Python cannot read it: 'await' outside function"),
    ],
)
def test_what_cannot_be_part_of_a_job_is_told_with_cell_and_line_and_nothing_is_sent(ganger, write, source, line, text):
    path = write("x = 1", source)

    said = ganger("submit", "--from-notebook", path)

    assert 2 == said.code
    assert f"{path}: cell 3, line {line}: {text}" in said.err.splitlines()
    assert [] == ganger.cluster.writes
    assert "error: nothing was submitted" == said.problem[0]


def test_magics_that_only_show_things_are_left_out_and_told_and_texts_are_not_magics(ganger, write):
    path = write(
        '%matplotlib inline\ntext = """\n%bold\n!x\n"""\nif text:\n    %autoreload 2\n', "%%time\ny = 10\ny \\\n% 3"
    )

    said = ganger("submit", "--from-notebook", path)

    assert 0 == said.code, said.err
    _, text = code_of(ganger)
    assert "\n%bold\n!x\n" in text
    assert "if text:\n    pass" in text
    assert [
        f"{path}: cell 2, line 1: %matplotlib is left out",
        f"{path}: cell 2, line 7: %autoreload is left out",
        f"{path}: cell 3, line 1: %%time is left out",
    ] == [line for line in said.err.splitlines() if "left out" in line]
    compile(text, "text", "exec")


def test_a_name_that_no_cell_binds_is_told_where_it_is_read(ganger, write):
    path = write("def main():\n    return data")

    said = ganger("submit", "--from-notebook", path, "--function", "main")

    assert 2 == said.code
    assert f"{path}: cell 2, line 1: data is bound by no cell of the notebook" in said.err


def test_a_function_that_is_not_there_is_told_with_those_that_are(ganger, write):
    said = ganger("submit", "--from-notebook", write("def train(): pass\ndef other(): pass"), "--function", "trian")

    assert (2, "  why: its cells define other, train") == (said.code, said.problem[1])


@pytest.mark.parametrize(
    "source, reads",
    [
        ("def f(a, *b, c=D, **e):\n    g = a + b + c\n    return g + H", {"D", "H"}),
        ("def f():\n    try: pass\n    except E as error: print(error)", {"E"}),
        ("def f():\n    with open(P) as g: return [x for x in g if (y := x)] + [y]", {"P"}),
        (
            "def f():\n    match A:\n        case {'k': v, **rest}: return v, rest\n        case [*more]: return more",
            {"A"},
        ),
        ("class f(Base):\n    n = 1\n    m: T = n\n    def g(self): return self.n + N", {"Base", "T", "N"}),
        (
            "@wrap(W)\ndef f(x: X) -> Y:\n    global G\n    G = 1\n    return lambda z: z + x + Q",
            {"wrap", "W", "X", "Y", "Q"},
        ),
        ("f = 1\nf += K", {"K"}),
    ],
)
def test_what_a_statement_reads_is_found_through_scopes(source, reads):
    _, faults = closure([Cell(1, source)], "f")

    assert reads == {fault.text.partition(" ")[0] for fault in faults}


def test_a_star_import_may_bring_what_nothing_binds():
    kept, faults = closure([Cell(1, "from math import *"), Cell(2, "def f(): return sqrt(2)")], "f")

    assert ([1, 2], []) == ([cell.number for cell in kept], faults)


def test_several_statements_on_one_line_are_told_apart():
    (kept,), _ = closure([Cell(1, "a = 1; print(a)\ndef f(): return a")], "f")

    assert "a = 1\n\ndef f(): return a" == kept.source


def test_dry_run_prints_both_objects_as_they_would_be_sent(ganger, write):
    said = ganger("submit", "--from-notebook", write("x = 1"), "--dry-run", "client", "-n", "team")

    carried, job = yaml.safe_load_all(said.out)
    assert (0, [], "ConfigMap", "TrainingJob") == (said.code, ganger.cluster.writes, carried["kind"], job["kind"])
    assert carried["metadata"]["name"] == job["spec"]["code"]["configMap"]["name"]
    assert {"team"} == {carried["metadata"]["namespace"], job["metadata"]["namespace"]}
    assert "stays when the job is deleted" in said.err


def test_dry_run_of_a_manifest_prints_it(ganger, manifest):
    said = ganger("submit", manifest(), "--dry-run", "client")

    assert (0, [], "digits") == (said.code, ganger.cluster.writes, yaml.safe_load(said.out)["metadata"]["name"])


def test_no_code_is_left_of_a_job_that_was_refused(ganger, write, monkeypatch):
    create = ganger.cluster.create

    async def refusing(resource, namespace, manifest):
        if resource.plural == "trainingjobs":
            raise Forbidden(403, "Forbidden", 'User "ann" cannot create resource "trainingjobs"')
        return await create(resource, namespace, manifest)

    monkeypatch.setattr(ganger.cluster, "create", refusing)

    said = ganger("submit", "--from-notebook", write("x = 1"))

    assert 5 == said.code
    assert {} == ganger.cluster.objects


def test_the_code_of_a_job_that_is_there_already_is_not_touched(ganger, write):
    path = write("x = 1")
    ganger("submit", "--from-notebook", path)
    before = dict(ganger.cluster.objects)

    said = ganger("submit", "--from-notebook", path, "--if-exists", "skip")

    assert (0, "try is there already\n") == (said.code, said.out)
    assert before == ganger.cluster.objects


def test_a_replaced_job_has_code_of_its_own(ganger, write):
    path = write("x = 1")
    ganger("submit", "--from-notebook", path)
    first, _ = code_of(ganger)

    said = ganger("submit", "--from-notebook", path, "--if-exists", "replace")

    assert 0 == said.code, said.err
    named = ganger.cluster.objects["trainingjobs", "try"]["spec"]["code"]["configMap"]["name"]
    assert first["metadata"]["name"] != named
    assert ("configmaps", named) in ganger.cluster.objects


@pytest.mark.parametrize(
    "content, what",
    [("no json", "is no notebook"), ('{"nbformat": 3, "worksheets": []}', "cannot be used"), ("[]", "is no notebook")],
)
def test_what_is_no_notebook_is_told(ganger, tmp_path, content, what):
    path = tmp_path / "x.ipynb"
    path.write_text(content)

    said = ganger("submit", "--from-notebook", str(path))

    assert (2, f"error: {path} {what}") == (said.code, said.problem[0])


def test_code_that_no_config_map_takes_is_refused_with_its_size(ganger, write):
    said = ganger("submit", "--from-notebook", write(f"x = '{'y' * 1_000_000}'"))

    assert 2 == said.code
    assert "a ConfigMap takes 1000000 of them" in said.problem[1]


def test_options_of_notebooks_need_one(ganger, manifest):
    assert "name it with --from-notebook" in ganger("submit", manifest(), "--function", "main").problem[0]


def test_the_notebook_runs_here_with_the_module_on_its_path(ganger, write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    base = tmp_path / "base.yaml"
    base.write_text(
        "apiVersion: ganger.dev/v1alpha1\nkind: TrainingJob\nmetadata: {name: here}\nspec: {command: [python, -m, x]}\n"
    )
    started = []
    monkeypatch.setattr("ganger.cli.local.LocalGang._command", lambda self: started.append(self.job.spec.script) or (
        sys.executable, *self.job.spec.script
    ))  # fmt: skip

    said = ganger("run", "--from-notebook", write("import os\nprint('ran', __name__)"), "-f", str(base))

    assert (0, "worker-0 | ran __main__\n") == (said.code, said.out), said.err
    assert [("-m", "try_notebook")] == started
    assert [] == list(Path(tmp_path).glob("**/try_notebook.py"))
