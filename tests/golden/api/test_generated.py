"""The files that are made from the Structs are those that the Structs make; `make generate` writes them."""

import subprocess
import sys

import pytest

from ganger_dev import generate
from ganger_dev.paths import repository


@pytest.mark.parametrize("name", generate.OUTPUTS)
def test_a_generated_file_is_up_to_date(name):
    stale = generate.stale(repository())

    assert name not in stale, f"{name} is stale: run `make generate` and commit it\n{stale.get(name)}"


def test_a_stale_file_is_told_with_the_command_and_the_difference(tmp_path, monkeypatch, capsys):
    assert sorted(generate.OUTPUTS) == generate.write(tmp_path)
    assert [] == generate.write(tmp_path)
    definition = tmp_path / "charts/ganger/files/trainingjobs.yaml"
    definition.write_text(definition.read_text().replace("maximum: 4096", "maximum: 4095", 1))
    monkeypatch.setattr(generate, "repository", lambda: tmp_path)

    assert 1 == generate.main(["--check"])
    told = capsys.readouterr().err
    assert "charts/ganger/files/trainingjobs.yaml is stale: run `make generate` and commit it" in told
    assert "maximum: 4095" in told
    assert "maximum: 4096" in told
    assert "docs/reference" not in told


def test_the_generator_gives_the_same_text_under_any_hash_seed():
    """Order from a set would make the file flicker from one machine to the next."""
    text = "''.join(make() for make in generate.OUTPUTS.values())"
    program = f"from hashlib import sha256; from ganger_dev import generate; print(sha256({text}.encode()).hexdigest())"
    root = repository()
    digests = set()
    for seed in ("1", "2"):
        env = {"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(str(root / name) for name in ("operator", "jobs", "dev"))}
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=env)
        digests.add(done.stdout)

    assert 1 == len(digests)
