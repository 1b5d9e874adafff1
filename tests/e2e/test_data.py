"""Data by http in real pods: fetched once for the gang, read-only, kept for the next job, and refused in words."""

import hashlib
from urllib.parse import urlsplit

import pytest

from apiclient import wait_for
from fileserver import Fault, File, serving

pytestmark = pytest.mark.e2e
CONTENT = bytes(range(256)) * 40_000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
READ = f"""
echo "{DIGEST}  /data/corpus/train.bin" | sha256sum -c
if touch /data/corpus/x; then exit 1; fi
test ! -e /data-access/corpus
"""


@pytest.fixture
def web(installed):
    with serving(urlsplit(installed.embedded.plane.url).hostname) as found:
        found.files["/train.bin"] = File(CONTENT)
        yield found


def job(name: str, **spec) -> dict:
    return {"apiVersion": "ganger.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": name}, "spec": spec}


def test_a_gang_fetches_once_and_the_next_job_finds_it(namespace, web):
    web.token = "hush-hush"
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "access"}, "stringData": {"token": web.token}}
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    namespace.apply(secret)
    namespace.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "cache"}, "spec": claim})
    source = {"name": "corpus", "url": f"{web.url}/train.bin", "sha256": DIGEST, "secretName": "access"}
    cache = {"claimName": "cache", "path": "sets"}
    web.faults = [Fault(cut=4_000_000)]
    for name in ("first", "second"):
        namespace.apply(job(name, command=["sh", "-ec", READ], workers=2, data=[source], dataCache=cache))
        namespace.wait_phase(name, "Complete")

    assert ["/train.bin"] * 2 == [path for path, _ in web.asked]
    assert len(CONTENT) == web.sent
    assert web.token not in namespace.kubectl("get", "pods,events,tj", "-o", "yaml")


def test_a_digest_that_is_another_fails_the_job_and_says_what_to_do(namespace, web):
    source = {"name": "corpus", "url": f"{web.url}/train.bin", "sha256": "0" * 64}
    namespace.apply(job("wrong", command=["true"], data=[source]))

    def failed():
        status = namespace.status("wrong")
        return status if status.get("phase") == "Failed" else None

    status = wait_for(failed, 120, "the job fails")
    assert "DataDigest" == status["restarts"]["last"]["reason"]
    assert DIGEST in status["restarts"]["last"]["message"]
    assert 0 == status["restarts"].get("counted", 0)
