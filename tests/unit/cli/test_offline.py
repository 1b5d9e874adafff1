"""Offline commands load neither torch nor a client library, and validate and render say what they should."""

import io
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ganger.cli import dev
from ganger.cli.main import COMMANDS

ROOT = Path(__file__).parents[3]
EXAMPLE = str(ROOT / "jobs" / "examples" / "digits" / "job.yaml")
PROBE = """
import sys
from ganger.cli.main import run
for arguments in {calls!r}:
    assert run(arguments) == 0, arguments
heavy = ("torch", "kubernetes", "aiohttp", "numpy", "rich", "ganger_trainer")
print("LOADED", sorted(name for name in heavy if name in sys.modules))
"""


def test_offline_commands_load_neither_torch_nor_a_client_library(tmp_path):
    local = tmp_path / "job.yaml"
    local.write_text(
        "apiVersion: ganger.dev/v1alpha1\nkind: TrainingJob\nmetadata: {name: a}\nspec: {command: [echo, hello]}\n"
    )
    calls = [["--help"], ["validate", EXAMPLE], ["render", EXAMPLE], ["run", str(local)], ["init", "-f", "-"]]
    calls += [[name, "--help"] for name in COMMANDS]
    calls += [["dev", name, "--help"] for name in dev.COMMANDS]
    env = {"PYTHONPATH": f"{ROOT / 'operator'}:{ROOT / 'jobs'}", "PATH": "/usr/bin:/bin"}

    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(calls=calls)], env=env, capture_output=True, text=True, check=True
    )

    assert "LOADED []" == done.stdout.splitlines()[-1]


def test_a_valid_manifest_is_told_valid(ganger):
    said = ganger("validate", EXAMPLE)

    assert (0, f"{EXAMPLE}: digits is valid\n", "") == (said.code, said.out, said.err)


def test_every_mistake_has_its_line_in_the_order_of_the_file(ganger, manifest):
    path = manifest(workers="nodes", task="tsk")

    said = ganger("validate", path)

    assert 2 == said.code
    lines = said.out.splitlines()
    assert f"{path}:6: spec.tsk: unknown field; did you mean 'task'?" in lines
    assert f"{path}:7: spec.nodes: unknown field; use 'workers'" in lines
    assert sorted(lines) == lines
    assert f"{len(lines)} mistakes in {path}\n" == said.err


def test_a_field_that_needs_another_is_a_mistake_in_its_line(ganger, manifest, request):
    path = manifest() + ""
    Path(path).write_text(Path(path).read_text() + "  export: [{format: onnx}]\n")

    said = ganger("validate", path)

    assert 2 == said.code
    assert said.out.startswith(f"{path}:8: spec.export: export needs checkpoint: ")


def test_standard_input_several_files_and_documents_are_read(ganger, manifest, monkeypatch):
    one = Path(manifest()).read_text()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(one.replace("digits", "piped").encode())))
    two = manifest(one + "---\n" + one.replace("digits", "second"), "two.yaml")

    said = ganger("validate", "-", "-f", two)

    assert 0 == said.code
    assert ["stdin: piped is valid", f"{two}: digits is valid", f"{two}: second is valid"] == said.out.splitlines()


def test_a_folder_gives_the_jobs_in_it_and_below_and_nothing_else(ganger, manifest, tmp_path):
    inner = manifest(name="jobs/deep/a.yaml")
    manifest("kind: ConfigMap\napiVersion: v1\nmetadata: {name: x}\n", "jobs/other.yaml")
    manifest("{{ a template }}", "jobs/chart.yaml")

    said = ganger("validate", str(tmp_path / "jobs"))

    assert (0, f"{inner}: digits is valid\n") == (said.code, said.out)


@pytest.mark.parametrize(
    "content, sentence",
    [
        ("", "the manifest is empty"),
        ("a: [", "not YAML"),
        ("a: &x 1\nb: *x\n", ":2: YAML aliases are not allowed"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n", "holds no TrainingJob, only Pod"),
        ("apiVersion: ganger.dev/v1\nkind: TrainingJob\n", ":1: apiVersion: must be ganger.dev/v1alpha1"),
        ("apiVersion: ganger.dev/v1alpha1\nkind: TrainingJobs\n", ":2: kind: must be TrainingJob"),
    ],
)
def test_a_file_that_is_no_manifest_is_told_why(ganger, manifest, content, sentence):
    said = ganger("validate", manifest(content))

    assert 2 == said.code
    assert sentence in said.out


def test_a_file_that_is_not_there_does_not_hide_the_others(ganger, manifest):
    said = ganger("validate", "absent.yaml", manifest())

    assert 2 == said.code
    assert "absent.yaml: cannot be read: No such file or directory" in said.out
    assert "digits is valid" in said.out


def test_naming_no_file_is_told(ganger):
    said = ganger("validate")

    assert 2 == said.code
    assert ["error: no manifest is named", "  fix: name a file, a folder, or - for standard input"] == said.problem


def test_what_a_manifest_says_never_reaches_the_terminal_as_a_command(ganger, manifest):
    said = ganger("validate", manifest('apiVersion: ganger.dev/v1alpha1\nkind: TrainingJob\n"\\e]0;x\\a": 1\n'))

    assert "\x1b" not in said.out + said.err
    assert "\\x1b]0;x\\x07" in said.out


def test_render_prints_what_the_builders_make(ganger, manifest):
    said = ganger("render", manifest(), "-n", "team", "--image", "mine:1", "--attempt", "3")

    objects = list(yaml.safe_load_all(said.out))
    assert ["Service", "Pod", "Pod"] == [item["kind"] for item in objects]
    assert ["digits-gang", "digits-3-0", "digits-3-1"] == [item["metadata"]["name"] for item in objects]
    assert {"team"} == {item["metadata"]["namespace"] for item in objects}
    assert "mine:1" == objects[1]["spec"]["containers"][0]["image"]


def test_render_refuses_a_manifest_with_mistakes_and_two_namespaces(ganger, manifest):
    path = manifest(workers="nodes")
    said = ganger("render", path)
    assert 2 == said.code
    assert "" == said.out
    assert f"{path}:7: spec.nodes" in said.err
    assert "error: nothing was rendered" == said.problem[0]

    placed = manifest(Path(manifest()).read_text().replace("name: digits", "name: digits\n  namespace: here"))
    said = ganger("render", placed, "-n", "there")
    assert 2 == said.code
    assert "  why: the manifest says so, and -n says there" in said.problem


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_the_sentence_of_the_table(ganger, name):
    said = ganger(name, "--help")

    assert 0 == said.code
    assert COMMANDS[name][1].rstrip(".") in " ".join(said.out.split())


def test_a_misspelt_command_or_option_is_told_with_the_next_step(ganger):
    assert [
        "error: there is no command 'submt'; did you mean 'submit'?",
        "  fix: 'ganger --help' shows how it is called",
    ] == ganger("submt").problem
    said = ganger("list", "--al")
    assert 2 == said.code
    assert "  fix: 'ganger list --help' shows how it is called" in said.problem


INTERRUPTING = """
import os, signal, sys

class Interrupts:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupts())
sys.argv = ["ganger", "version"]
from ganger.cli.__main__ import main
main()
"""


@pytest.mark.parametrize("module", ["ganger.cli.main", "click", "ganger.cli.version"])
def test_ctrl_c_while_the_command_is_loaded_shows_no_traceback(module):
    env = {"PYTHONPATH": str(ROOT / "operator"), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-c", INTERRUPTING.format(module=module)]

    done = subprocess.run(command, env=env, capture_output=True, text=True)

    assert (130, "interrupted") == (done.returncode, done.stderr.strip())
