"""What spec.data names in a store of S3: a real one, `rclone serve s3`, which checks signatures."""

import hashlib
import random

import pytest

from ganger import contract
from ganger_dev import s3
from ganger_trainer.failures import TrainerError
from ganger_trainer.fetch.bucket import Bucket
from ganger_trainer.fetch.fetcher import fetch
from ganger_trainer.fetch.order import ChangedError, Limits, Order
from ganger_trainer.fetch.remote import Object
from ganger_trainer.fetch.store import Store

pytestmark = pytest.mark.integration

QUICK = Limits(lease=2.0, beat=0.2, stall=1.0, read=2.0, backoff=0.05, backoff_max=0.2, durable_bytes=1 << 20)
FILES = {"a.bin": random.Random(3).randbytes(3_000_000), "deep/b.txt": b"deep", "deep/c d+e.txt": b"odd"}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("s3") / "buckets"
    for name, content in FILES.items():
        path = folder / "sets" / "digits" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    with s3.serving(folder) as found:
        yield found


@pytest.fixture
def order(store, tmp_path):
    def make(url: str, *, secret_key: str = store.secret_key, **fields) -> Order:
        secret = tmp_path / "secret"
        secret.mkdir(exist_ok=True)
        (secret / "accessKey").write_text(store.access_key)
        (secret / "secretKey").write_text(secret_key)
        written = {"name": "digits", "key": "k", "url": url, "max_bytes": 1 << 30, "endpoint": store.endpoint}
        return Order(**(written | {"secret": str(secret)} | fields))

    return make


@pytest.fixture
def cache(tmp_path):
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


def digest_of_all() -> str:
    """What `find . -type f -printf '%P\\n' | LC_ALL=C sort | xargs -d '\\n' sha256sum | sha256sum` says."""
    lines = [f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sorted(FILES.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def refusal(wanted: Order, cache) -> TrainerError:
    with pytest.raises(TrainerError) as found:
        fetch(wanted, Store(cache), "w0", QUICK, print)
    assert not (cache / "k").exists()
    return found.value


def test_all_below_a_prefix_is_fetched_with_its_paths_and_verified(order, cache):
    fetch(order("s3://sets/digits/", sha256=digest_of_all()), Store(cache), "w0", QUICK, print)

    root = cache / "k" / "files"
    assert FILES == {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_one_object_is_fetched_under_its_last_name(order, cache):
    fetch(order("s3://sets/digits/deep/b.txt"), Store(cache), "w0", QUICK, print)

    assert b"deep" == (cache / "k" / "files" / "b.txt").read_bytes()


def test_the_rest_of_an_object_can_be_had_and_that_of_another_version_not(order):
    bucket = Bucket(order("s3://sets/digits/"), QUICK)
    found = next(found for found in bucket.objects() if found.path == "a.bin")

    body = bucket.open(found, 1_000_000, found.version)
    rest = b"".join(body.chunks())
    body.close()

    assert (1_000_000, len(FILES["a.bin"])) == (body.start, body.total)
    assert FILES["a.bin"][1_000_000:] == rest
    with pytest.raises(ChangedError):
        bucket.open(Object(path="a.bin", key=found.key), 1_000_000, "0" * 32)


def test_another_digest_fails_the_job(order, cache):
    error = refusal(order("s3://sets/digits/", sha256="0" * 64), cache)

    assert ("DataDigest", digest_of_all() in str(error)) == (error.reason, True)
    assert (cache / "k.bad" / "files" / "deep" / "b.txt").is_file()


@pytest.mark.parametrize("url", ["s3://sets/digits/none.bin", "s3://sets/none/", "s3://nowhere/none/"])
def test_what_is_not_there_is_missing(order, cache, url):
    assert "DataMissing" == refusal(order(url), cache).reason


def test_a_wrong_key_is_refused_and_told_to_nobody(order, cache):
    error = refusal(order("s3://sets/digits/a.bin", secret_key="hush-hush"), cache)

    assert ("DataRefused", contract.ExitCode.USER_INPUT_MISSING) == (error.reason, error.exit_code)
    assert "Secret" in str(error)
    assert "hush" not in str(error)


def test_more_than_is_allowed_of_all_objects_together_is_not_fetched(order, cache):
    assert "DataTooLarge" == refusal(order("s3://sets/digits/", max_bytes=3_000_001), cache).reason


def test_a_store_that_is_not_there_is_given_up_on(order, cache):
    error = refusal(order("s3://sets/digits/", endpoint="http://127.0.0.1:9"), cache)

    assert ("DataUnreachable", contract.ExitCode.RETRYABLE) == (error.reason, error.exit_code)
