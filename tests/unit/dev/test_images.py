import io
import json
import re
import tarfile

import pytest

from ganger_dev import images, sandbox
from ganger_dev.buildah import pip_configuration
from ganger_dev.errors import DevError
from ganger_dev.paths import repository

DOCKERFILES = sorted((repository() / "images").glob("*.Dockerfile"))


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
class TestDockerfile:
    def test_builds_on_a_base_of_the_builders_choice(self, path):
        base = "pytorch-cuda:v2.15" if path.name == "pytorch-cuda-dev.Dockerfile" else "debian:bookworm-slim"
        assert f"ARG BASE={base}\n" in path.read_text()
        assert set(re.findall(r"^FROM (\S+)", path.read_text(), re.MULTILINE)) <= {"${BASE}", "dependencies"}

    def test_runs_as_an_ordinary_user_under_an_init(self, path):
        last = path.read_text().rpartition("\nFROM ")[2]

        assert "USER 1000:1000" in last
        assert 'ENTRYPOINT ["/usr/bin/tini", "--"]' in last
        assert "CMD [" in last

    def test_installs_only_what_the_locks_vouch_for(self, path):
        text = path.read_text()

        assert text.count("pip install") == text.count("--require-hashes") == 1
        assert "ADD http" not in text
        assert "curl" not in text

    def test_copies_the_projects_sources_last(self, path):
        before, _, last = path.read_text().rpartition("\nFROM ")

        assert "/opt/ganger/" in last
        assert "COPY operator" not in before
        assert "COPY jobs" not in before


def test_the_image_of_sessions_has_no_secret_of_its_own_and_is_made_of_the_workers_image():
    text = (repository() / "images/pytorch-cuda-dev.Dockerfile").read_text()
    image = images.session()

    assert "/etc/ssh/ssh_host_*" in text.partition("openssh-server")[2].partition("\nRUN")[0]
    assert "pytorch-cuda-dev:v2.15" == image.name
    assert images.pytorch().built_name == image.arguments["BASE"]
    assert set(images.pytorch().inputs) < set(image.inputs)


def test_a_changed_source_changes_the_fingerprint(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "repository", lambda: tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.Dockerfile").write_text("FROM x")
    (tmp_path / "src").mkdir()
    source = tmp_path / "src" / "a.py"
    source.write_text("1")
    image = images.Image(name="a:1", dockerfile="a.Dockerfile", inputs=("src",), gib=1)
    before = image.fingerprint()
    (tmp_path / "src" / "__pycache__").mkdir()
    (tmp_path / "src" / "__pycache__" / "a.pyc").write_text("byte code")

    assert before == image.fingerprint()

    source.write_text("2")

    assert before != image.fingerprint()


def test_the_tag_is_the_minor_version_of_torch():
    assert ["pytorch-cuda:v2.15", "pytorch-cuda:v2.6"] == [images.pytorch(it).name for it in ("2.15.0", "2.6.0")]


def test_a_torch_without_a_lock_is_refused_with_the_choices():
    with pytest.raises(DevError, match=r"torch-9\.9\.9\.lock is missing\. Choose one of 2\.15\.0, 2\.6\.0"):
        images.pytorch("9.9.9")


def test_a_name_without_a_registry_is_the_one_that_a_kubelet_looks_for():
    assert "docker.io/library/pytorch-cuda:v2.15" == images.pytorch().full_name


def test_a_build_uses_the_machines_package_index_and_certificate():
    environ = {"PIP_CERT": "/etc/ssl/certs/ca-certificates.crt", "PIP_INDEX_URL": "https://index.example/simple"}

    lines = pip_configuration(environ).splitlines()

    assert "cert = /etc/ssl/certs/ca-certificates.crt" in lines
    assert "index-url = https://index.example/simple" in lines


def test_the_sandbox_archive_is_an_image_of_one_program():
    content = sandbox.archive(b"program")

    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        blob = {name.rpartition("/")[2]: archive.extractfile(name).read() for name in archive.getnames()}
    entry = json.loads(blob["index.json"])["manifests"][0]
    manifest = json.loads(blob[entry["digest"][7:]])
    config = json.loads(blob[manifest["config"]["digest"][7:]])
    assert sandbox.NAME == entry["annotations"]["io.containerd.image.name"]
    assert config["rootfs"]["diff_ids"] == [layer["digest"] for layer in manifest["layers"]]
    assert ["/sandbox"] == config["config"]["Entrypoint"]


def test_a_replaced_image_loses_its_second_name_and_a_current_one_keeps_it():
    listing = """\
REF            TYPE  DIGEST     SIZE
docker.io/a:1  oci   sha256:m2  1 MiB
sha256:c1      oci   sha256:m1  1 MiB
sha256:c2      oci   sha256:m2  1 MiB
"""

    assert ["sha256:c1"] == images.replaced(listing)
