"""What spec.data names by http: whole, resumed, verified, fetched once, and refused in words that help."""

import errno
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest

from fileserver import Fault, File, serving
from ganger import contract
from ganger_trainer.failures import TrainerError
from ganger_trainer.fetch.fetcher import fetch
from ganger_trainer.fetch.order import Limits, Order
from ganger_trainer.fetch.store import Store

QUICK = Limits(lease=2.0, beat=0.2, stall=2.0, read=2.0, backoff=0.05, backoff_max=0.2, durable_bytes=1 << 20)
CONTENT = random.Random(7).randbytes(9_000_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def web():
    with serving() as found:
        found.files["/train.bin"] = File(CONTENT)
        yield found


@pytest.fixture
def said():
    return []


def wanted(url: str, **fields) -> Order:
    return Order(**({"name": "corpus", "key": "k1", "url": url, "max_bytes": 1 << 40} | fields))


def get(tmp_path, order: Order, said: list[str] | None = None, who: str = "w0") -> bytes:
    """Fetch it and return the one file that it is."""
    fetch(order, Store(tmp_path), who, QUICK, (said if said is not None else []).append)
    (found,) = [path for path in (tmp_path / order.key / "files").rglob("*") if path.is_file()]
    return found.read_bytes()


def refusal(tmp_path, order: Order) -> TrainerError:
    with pytest.raises(TrainerError) as found:
        fetch(order, Store(tmp_path), "w0", QUICK, print)
    assert not (tmp_path / order.key).exists()
    return found.value


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def ranges(web) -> list[str]:
    return [headers.get("Range", "") for _, headers in web.asked]


def test_a_file_is_fetched_once_and_nothing_else_is_left(web, tmp_path, said):
    order = wanted(f"{web.url}/train.bin", sha256=DIGEST)

    assert CONTENT == get(tmp_path, order, said)
    assert CONTENT == get(tmp_path, order, said)
    assert 1 == len(web.asked)
    assert ["k1"] == names(tmp_path)
    assert ["files", "record.json"] == names(tmp_path / "k1")
    record = json.loads((tmp_path / "k1" / "record.json").read_bytes())
    assert {"url": order.url, "sha256": DIGEST, "sources": 1, "files": 1, "bytes": len(CONTENT)} == record
    assert "is here already" == said[-1]


def test_a_connection_that_breaks_goes_on_where_it_broke(web, tmp_path):
    web.faults = [Fault(cut=3_000_000), Fault(cut=2_000_000), Fault(status=503, headers={"Retry-After": "0"})]

    assert CONTENT == get(tmp_path, wanted(f"{web.url}/train.bin", sha256=DIGEST))
    assert ["", "bytes=3000000-", "bytes=5000000-", "bytes=5000000-"] == ranges(web)
    assert len(CONTENT) == web.sent


def test_a_file_that_changes_in_between_is_fetched_anew(web, tmp_path):
    new = CONTENT[::-1]

    def change():
        web.files["/train.bin"] = File(new)

    web.faults = [Fault(cut=3_000_000), Fault(before=change)]

    assert new == get(tmp_path, wanted(f"{web.url}/train.bin"))
    assert ["", "bytes=3000000-"] == ranges(web)  # If-Range makes the server send all of it


def test_a_server_that_ignores_if_range_does_not_mix_two_files(web, tmp_path):
    new = CONTENT[::-1]

    def change():
        web.files["/train.bin"] = File(new)

    web.faults = [Fault(cut=3_000_000), Fault(before=change, ignore_if_range=True)]

    assert new == get(tmp_path, wanted(f"{web.url}/train.bin"))
    assert ["", "bytes=3000000-", ""] == ranges(web)


def test_a_part_that_is_sent_with_the_status_of_a_whole_is_a_part(web, tmp_path):
    """As `rclone serve s3` does."""
    web.faults = [Fault(cut=3_000_000), Fault(part_status=200)]

    assert CONTENT == get(tmp_path, wanted(f"{web.url}/train.bin"))
    assert len(CONTENT) == web.sent


def test_a_server_without_ranges_begins_anew(web, tmp_path):
    web.files["/train.bin"].ranges = False
    web.faults = [Fault(cut=3_000_000)]

    assert CONTENT == get(tmp_path, wanted(f"{web.url}/train.bin", sha256=DIGEST))


def test_without_version_and_digest_the_rest_is_not_trusted(web, tmp_path):
    web.files["/train.bin"].etag = ""
    web.faults = [Fault(cut=3_000_000)]

    assert CONTENT == get(tmp_path, wanted(f"{web.url}/train.bin"))
    assert ["", ""] == ranges(web)


def test_without_version_a_digest_makes_the_rest_welcome_and_tells_a_mix(web, tmp_path, said):
    old = b"x" * 3_000_000 + CONTENT[3_000_000:]
    web.files["/train.bin"] = File(old, etag="")

    def change():
        web.files["/train.bin"] = File(CONTENT, etag="")

    web.faults = [Fault(cut=3_000_000), Fault(before=change)]

    assert CONTENT == get(tmp_path, wanted(f"{web.url}/train.bin", sha256=DIGEST), said)
    assert ["", "bytes=3000000-", ""] == ranges(web)
    assert any("not as promised" in line for line in said)


def test_what_has_another_digest_is_kept_apart_and_told(web, tmp_path):
    order = wanted(f"{web.url}/train.bin", sha256="0" * 64)

    error = refusal(tmp_path, order)

    assert ("DataDigest", contract.ExitCode.USER_DATA) == (error.reason, error.exit_code)
    assert DIGEST in str(error)
    assert order.sha256 in str(error)
    assert CONTENT == (tmp_path / "k1.bad" / "files" / "train.bin").read_bytes()
    assert CONTENT == get(tmp_path, wanted(f"{web.url}/train.bin", sha256=DIGEST))


@pytest.mark.parametrize(
    ("status", "reason"),
    [(404, "DataMissing"), (410, "DataMissing"), (401, "DataRefused"), (403, "DataRefused"), (400, "DataRefused")],
)
def test_what_a_server_refuses_is_not_asked_again(web, tmp_path, status, reason):
    web.always = Fault(status=status)

    error = refusal(tmp_path, wanted(f"{web.url}/train.bin?sig=hush"))

    assert (reason, 1) == (error.reason, len(web.asked))
    assert error.exit_code in contract.USER_ERRORS
    assert "hush" not in str(error)


def test_a_server_that_never_answers_well_is_given_up_on_and_may_be_tried_by_the_next_attempt(web, tmp_path):
    web.always = Fault(status=503)

    error = refusal(tmp_path, wanted(f"{web.url}/train.bin"))

    assert ("DataUnreachable", contract.ExitCode.RETRYABLE) == (error.reason, error.exit_code)
    assert "the server answers 503" in str(error)
    assert len(web.asked) > 5


def test_more_than_is_allowed_is_not_fetched(web, tmp_path):
    error = refusal(tmp_path, wanted(f"{web.url}/train.bin", max_bytes=1_000_000))

    assert ("DataTooLarge", 1) == (error.reason, len(web.asked))
    assert web.sent < len(CONTENT)


def test_credentials_go_to_their_own_host_alone(web, tmp_path):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "token").write_text("hush\n")
    (tmp_path / "cache").mkdir()
    web.token = "hush"
    with serving() as other:
        other.files["/there.bin"] = File(CONTENT)
        web.redirects = {"/train.bin": "/again.bin", "/again.bin": f"{other.url}/there.bin"}
        order = wanted(f"{web.url}/train.bin", secret=str(tmp_path / "secret"))

        assert CONTENT == get(tmp_path / "cache", order)
        assert ["Bearer hush"] * 2 == [headers.get("Authorization") for _, headers in web.asked]
        assert [None] == [headers.get("Authorization") for _, headers in other.asked]


def test_redirects_have_an_end(web, tmp_path):
    web.redirects = {"/train.bin": "/train.bin"}

    error = refusal(tmp_path, wanted(f"{web.url}/train.bin"))

    assert ("DataRefused", 6) == (error.reason, len(web.asked))


def test_bytes_that_a_server_calls_compressed_are_kept_as_they_are(web, tmp_path):
    web.files["/train.bin"].headers["Content-Encoding"] = "gzip"

    assert CONTENT == get(tmp_path, wanted(f"{web.url}/train.bin", sha256=DIGEST))


def test_of_many_who_want_the_same_one_fetches(web, tmp_path):
    web.always = Fault(bytes_per_second=9e6)
    order = wanted(f"{web.url}/train.bin", sha256=DIGEST)
    lines: list[str] = []
    threads = [threading.Thread(target=get, args=(tmp_path, order, lines, f"w{n}")) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 1 == len(web.asked)
    assert ["k1"] == names(tmp_path)
    assert any("fetches it: " in line and " % of 9.0 MB" in line for line in lines)


def test_whoever_waits_takes_over_from_the_dead_with_what_it_had(web, tmp_path, said):
    web.always = Fault(bytes_per_second=4e6)
    first = start(tmp_path, web)
    wait_until(lambda: web.sent > 4_000_000)
    first.send_signal(signal.SIGKILL)
    first.wait()
    web.always = None

    assert CONTENT == get(tmp_path, wanted(f"{web.url}/train.bin", sha256=DIGEST), said, "w1")
    resumed = int(ranges(web)[-1].removeprefix("bytes=").rstrip("-"))
    assert resumed >= 1 << 20
    assert ["k1"] == names(tmp_path)


def test_a_holder_that_was_stopped_for_too_long_writes_nothing_more(web, tmp_path):
    web.always = Fault(bytes_per_second=4e6)
    first = start(tmp_path, web)
    try:
        wait_until(lambda: web.sent > 2_000_000)
        first.send_signal(signal.SIGSTOP)
        web.always = None
        assert CONTENT == get(tmp_path, wanted(f"{web.url}/train.bin", sha256=DIGEST), who="w1")
        before = (tmp_path / "k1" / "files" / "train.bin").stat().st_mtime_ns
        first.send_signal(signal.SIGCONT)

        assert 0 == first.wait(20)
        assert before == (tmp_path / "k1" / "files" / "train.bin").stat().st_mtime_ns
        assert CONTENT == (tmp_path / "k1" / "files" / "train.bin").read_bytes()
    finally:
        first.kill()


def test_killed_at_any_moment_it_goes_on_and_ends_right(web, tmp_path):
    chance = random.Random(11)
    web.always = Fault(bytes_per_second=12e6)
    for _ in range(4):
        one = start(tmp_path, web, lease=30.0)
        time.sleep(0.3 + chance.random() * 0.4)
        one.kill()
        one.wait()

    last = start(tmp_path, web, lease=30.0)  # the same pod, begun anew: it does not wait for itself
    assert 0 == last.wait(20)
    assert CONTENT == (tmp_path / "k1" / "files" / "train.bin").read_bytes()
    assert ["k1"] == names(tmp_path)


def test_the_last_word_is_that_of_a_worker(web, tmp_path):
    web.always = Fault(status=403)
    log = tmp_path / "log"
    one = start(tmp_path, web, log=log)

    assert contract.ExitCode.USER_INPUT_MISSING == one.wait(20)
    said = json.loads(log.read_bytes())
    assert ("UserError", "DataRefused") == (said["outcome"], said["reason"])
    assert "secretName of spec.data" in said["message"]
    assert "traceback" not in said


def test_a_volume_that_cannot_be_written_is_told_as_such(web, tmp_path):
    order = wanted(f"{web.url}/train.bin")
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(TrainerError) as found:
        fetch(order, Store(tmp_path / "file" / "cache"), "w0", QUICK, print)

    assert ("DataVolume", 0) == (found.value.reason, len(web.asked))


def test_a_volume_that_is_full_is_told_as_such(web, tmp_path, monkeypatch):
    order = wanted(f"{web.url}/train.bin")
    written = os.write

    def full(descriptor: int, piece) -> int:
        if len(piece) > 4096:
            raise OSError(errno.ENOSPC, "No space left on device")
        return written(descriptor, piece)

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(TrainerError, match="use a larger volume") as found:
        fetch(order, Store(tmp_path), "w0", QUICK, print)

    assert ("DataVolume", contract.ExitCode.RETRYABLE) == (found.value.reason, found.value.exit_code)


def test_what_has_no_room_is_not_begun(web, tmp_path, monkeypatch):
    free = shutil.disk_usage(tmp_path)._replace(free=70_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)

    with pytest.raises(TrainerError, match="9000000 further bytes are needed") as found:
        fetch(wanted(f"{web.url}/train.bin"), Store(tmp_path), "w0", QUICK, print)

    assert "DataVolume" == found.value.reason
    assert web.sent < len(CONTENT)


def test_a_folder_that_no_fetch_made_is_not_taken_for_data(web, tmp_path):
    (tmp_path / "k1" / "files" / "else").mkdir(parents=True)

    with pytest.raises(TrainerError, match="was not made by a fetch") as found:
        fetch(wanted(f"{web.url}/train.bin"), Store(tmp_path), "w0", QUICK, print)

    assert "DataVolume" == found.value.reason


def test_a_proxy_of_the_environment_is_used(web, tmp_path, monkeypatch):
    with serving() as proxy:
        url = "http://data.example/train.bin"
        proxy.files[url] = File(CONTENT)
        monkeypatch.setenv("http_proxy", proxy.url)

        assert CONTENT == get(tmp_path, wanted(url, sha256=DIGEST))
        assert [url] == [path for path, _ in proxy.asked]


def start(cache: Path, web, *, lease: float = 2.0, log: Path | None = None) -> subprocess.Popen:
    """The program of the init container, with less patience."""
    limits = f"lease={lease}, beat=0.2, stall=2.0, backoff=0.05, durable_bytes=1 << 20"
    code = (
        f"import sys; from ganger_trainer.fetch import __main__, order; sys.exit(__main__.main(order.Limits({limits})))"
    )
    orders = msgspec.json.encode([wanted(f"{web.url}/train.bin", sha256=DIGEST)]).decode()
    environment = {
        "PYTHONPATH": ":".join(filter(None, sys.path)),
        contract.ENV_DATA_ORDERS: orders,
        contract.ENV_DATA_CACHE: str(cache),
        contract.ENV_DATA_HOLDER: "digits-0-0",
        contract.ENV_TERMINATION_LOG: str(log or ""),
    }
    return subprocess.Popen([sys.executable, "-c", code], env=environment)


def wait_until(holds) -> None:
    until = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)
