"""One order from its source into the cache, by whoever holds its lease."""

import errno
import itertools
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from functools import partial
from typing import Final

from ganger.contract import ExitCode
from ganger_trainer.failures import TrainerError, UserError
from ganger_trainer.fetch import lease, order, unpack
from ganger_trainer.fetch.download import Download
from ganger_trainer.fetch.lease import Lease, LostError
from ganger_trainer.fetch.order import LaterError, Limits, Order
from ganger_trainer.fetch.progress import Progress
from ganger_trainer.fetch.remote import Object, Remote, Web
from ganger_trainer.fetch.store import Note, Store, Work, listed, sync_tree

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_OBJECTS_MAX: Final = 1_000_000


def fetch(wanted: Order, store: Store, who: str, limits: Limits, say: Callable[[str], None]) -> None:
    """Return when the order is in the store, whoever fetched it. Raises TrainerError."""
    try:
        store.root.mkdir(parents=True, exist_ok=True)
        if store.record(wanted) is not None:
            say("is here already")
        while store.record(wanted) is None:
            held = lease.acquire(
                store.root, wanted.key, who, limits, done=lambda: store.record(wanted) is not None, say=say
            )
            if held is None:
                break
            try:
                with held:
                    _Fetch(wanted, store, held, limits, say).run()
            except (LostError, OSError) as error:
                if isinstance(error, OSError) and held.is_held():
                    raise
                say("another worker took over")
                continue
            lease.remove(store.root, wanted.key)
    except OSError as error:
        why = error.strerror or str(error)
        if error.errno in _FULL:
            why += ": use a larger volume, or remove from it what no job needs"
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            why += ": the volume must be writable for UID 1000"
        raise order.no_room(wanted.name, why) from None


def _remote(wanted: Order, limits: Limits) -> Remote:
    if not wanted.url.startswith("s3://"):
        return Web(wanted, limits)
    from ganger_trainer.fetch.bucket import Bucket  # its library is not needed for the others

    return Bucket(wanted, limits)


class _Fetch:
    def __init__(self, wanted: Order, store: Store, held: Lease, limits: Limits, say: Callable[[str], None]) -> None:
        self._wanted = wanted
        self._store = store
        self._held = held
        self._limits = limits
        self._say = say
        self._stop = threading.Event()

    def run(self) -> None:
        began = time.monotonic()
        remote = _remote(self._wanted, self._limits)
        work = self._store.work(self._wanted, self._held.number)
        digest, sources = self._verified(remote, work)
        archives = [path for path in work.files.iterdir() if unpack.is_archive(path.name)]
        if self._wanted.unpack == "Auto" and sources == 1 and archives:
            self._say(f"unpacks {archives[0].name}")
            self._held.progress = "unpacks it"
            inside = work.root / "unpacked"
            unpack.Unpacking(self._wanted.name, inside, self._wanted.max_bytes, self._held.check).unpack(archives[0])
            sync_tree(inside, self._held.check)
            shutil.rmtree(work.files)
            inside.rename(work.files)
        else:
            sync_tree(work.files, self._held.check)
        self._held.confirm()
        self._store.commit(self._wanted, work, digest, sources)
        self._say(f"is here, after {time.monotonic() - began:.1f} s, sha256 {digest}")

    def _verified(self, remote: Remote, work: Work) -> tuple[str, int]:
        """Fetch all objects; return their digest and their number. Raises UserError where it is another digest."""
        objects = self._objects(remote)
        trusted, room = bool(self._wanted.sha256), partial(self._store.require_room, self._wanted)
        while True:
            progress = Progress(self._wanted, tell=self._tell, say=self._say)
            for found in objects:
                progress.expect(found.path, found.size)
            room(progress.left - _here(work, objects))
            download = Download(remote, work, self._limits, progress, check=self._check, room=room, trusted=trusted)
            notes = self._all(download, objects)
            digest = listed(notes) if self._wanted.url.endswith("/") else notes[0].sha256
            if not trusted or digest == self._wanted.sha256:
                return digest, len(notes)
            if not download.blind:
                break
            # The rest of it was asked of a server that does not say whether it is still the same.
            self._say("what was resumed is not as promised: it is fetched anew")
            for path in download.blind:
                work.forget(path)
        bad = self._store.quarantine(self._wanted, work)
        raise UserError(
            "DataDigest",
            f"{self._wanted.name} has sha256 {digest} and spec.data promises {self._wanted.sha256}: somebody changed "
            f"it, or the digest is of another file. Correct what is wrong; what came is in {bad.name} of the cache",
            ExitCode.USER_DATA,
        )

    def _objects(self, remote: Remote) -> list[Object]:
        """List the source. A source that does not answer is asked again, for as long as one that sends no bytes."""
        began, tries = time.monotonic(), 0
        while True:
            try:
                found = list(itertools.islice(remote.objects(), _OBJECTS_MAX + 1))
            except LaterError as error:
                seconds = time.monotonic() - began
                if seconds > self._limits.stall:
                    raise order.unreachable(self._wanted.name, seconds, str(error)) from None
                self._say(f"{error}; asks again")
                time.sleep(max(error.seconds, min(self._limits.backoff_max, self._limits.backoff * 2.0**tries)))
                tries = min(tries + 1, 16)
                self._held.check()
                continue
            if not found:
                raise order.missing(f"{self._wanted.name}: anything below {self._wanted.url}")
            if len(found) > _OBJECTS_MAX:
                why = f"more than {_OBJECTS_MAX} objects: pack them into archives"
                raise order.invalid(self._wanted.name, why)
            return found

    def _all(self, download: Download, objects: list[Object]) -> list[Note]:
        """Fetch them side by side; the first that fails ends the others."""
        self._stop.clear()
        with ThreadPoolExecutor(self._limits.streams, thread_name_prefix="fetch") as threads:
            running: list[Future[Note]] = [threads.submit(download.fetch, found) for found in objects]
            try:
                done, _ = wait(running, return_when=FIRST_EXCEPTION)
            finally:
                self._stop.set()
                for future in running:
                    future.cancel()
        errors = [error for future in done if not future.cancelled() and (error := future.exception()) is not None]
        if errors:
            # The one that stopped the others, not those that it stopped.
            raise next((error for error in errors if not isinstance(error, _StoppedError)), errors[0])
        return [future.result() for future in running]

    def _check(self) -> None:
        if self._stop.is_set():
            raise _StoppedError
        self._held.check()

    def _tell(self, text: str) -> None:
        self._held.progress = text


class _StoppedError(TrainerError):
    """Another object of the same order failed."""

    def __init__(self) -> None:
        super().__init__("DataUnreachable", "another object failed")


def _here(work: Work, objects: list[Object]) -> int:
    return sum(note.bytes for found in objects if (note := work.note(found.path)) is not None)
