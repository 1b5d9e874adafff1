"""`ganger run` of a job with data: fetched once into folders of this machine."""

import hashlib
import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

from fileserver import Fault, File, serving

ROOT = Path(__file__).parents[3]


@pytest.fixture
def web():
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        info = tarfile.TarInfo("words.txt")
        info.size = 5
        archive.addfile(info, io.BytesIO(b"hello"))
    with serving() as found:
        found.files["/corpus.tar.gz"] = File(packed.getvalue())
        yield found


def run(folder: Path, *sources: dict) -> tuple[int, str]:
    spec = {"command": ["sh", "-c", 'cat "$GANGER_DATA_DIR"/*/words.txt'], "data": list(sources)}
    manifest = {
        "apiVersion": "ganger.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": "reader"},
        "spec": spec,
    }
    (folder / "job.yaml").write_text(yaml.safe_dump(manifest))
    env = os.environ | {"PYTHONPATH": f"{ROOT / 'operator'}:{ROOT / 'jobs'}"}
    command = [sys.executable, "-m", "ganger.cli", "run", "job.yaml"]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def test_data_is_fetched_unpacked_and_kept_for_the_next_run(tmp_path, web):
    source = {"name": "corpus", "url": f"{web.url}/corpus.tar.gz"}

    for _ in range(2):
        code, text = run(tmp_path, source)
        assert (0, True) == (code, "hello" in text), text
    assert 1 == len(web.asked)


def test_a_secret_is_a_folder_of_files_here(tmp_path, web):
    web.token = "hush"
    digest = hashlib.sha256(web.files["/corpus.tar.gz"].content).hexdigest()
    source = {"name": "corpus", "url": f"{web.url}/corpus.tar.gz", "sha256": digest, "secretName": "access"}

    code, text = run(tmp_path, source)
    assert 1 == code
    assert "the server answers 401" in text
    assert "ganger-runs/reader/access/NAME/secret" in text
    secret = tmp_path / "ganger-runs" / "reader" / "access" / "corpus" / "secret"
    secret.mkdir(parents=True)
    (secret / "token").write_text("hush")
    code, text = run(tmp_path, source)

    assert (0, True, False) == (code, "hello" in text, "hush" in text), text


def test_what_a_cluster_would_mount_is_asked_for(tmp_path):
    source = {"name": "corpus", "claim": {"claimName": "sets"}}
    place = tmp_path / "ganger-runs" / "reader" / "data" / "corpus"

    _, text = run(tmp_path, source)
    assert f"put its files, or a link to them, at {place}" in text
    place.mkdir(parents=True)
    (place / "words.txt").write_text("mine")
    code, text = run(tmp_path, source)

    assert (0, True) == (code, "mine" in text)


def test_a_failed_fetch_starts_nothing_and_shows_no_traceback(tmp_path, web):
    web.always = Fault(status=404)

    code, text = run(tmp_path, {"name": "corpus", "url": f"{web.url}/corpus.tar.gz"})

    assert 1 == code
    assert "job reader was not started" in text
    assert "Traceback" not in text
