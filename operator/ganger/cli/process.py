"""One worker as a process of this machine, seen as the pod that it stands for.

It leads a process group of its own, so that Ctrl-C in the terminal reaches only `ganger`, which decides what to do.
"""

import asyncio
import contextlib
import os
import signal
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from ganger.api.observed import ContainerState, ContainerStatus, Metadata, Pod, PodStatus, Running, Terminated
from ganger.cli.lines import lines
from ganger.contract import CONTAINER, LABEL_ATTEMPT, LABEL_WORKER, TERMINATION_MESSAGE_BYTES_MAX

_PIECE_BYTES = 64 * 1024
_LAST_LINES = 80  # what the kubelet keeps of the log of a container that left no last word
_LAST_CHARS = 2048
_DRAIN_SECONDS = 2.0  # for what a process that outlived its supervisor may still write


class WorkerProcess:
    """A process and its output. `ended` is called once, after its last line."""

    def __init__(
        self,
        metadata: Metadata,
        *,
        last_word: Path,
        say: Callable[[int, str], None],
        ended: Callable[[], None],
    ) -> None:
        self.metadata = metadata
        self.attempt = int(metadata.labels[LABEL_ATTEMPT])
        label = metadata.labels[LABEL_WORKER]
        self.worker = int(label) if label.isdigit() else -1  # -1: it makes model files
        self.last_word = last_word  # the file that takes its termination message
        self.exit_code: int | None = None  # 128 + N where signal N ended it, as a shell has it
        self._say = say
        self._ended = ended
        self._tail: deque[str] = deque(maxlen=_LAST_LINES)
        self._end: Terminated | None = None
        self._life: asyncio.Task[None] | None = None
        self._killer: asyncio.TimerHandle | None = None

    async def start(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start it. A command that cannot be started ends as a container would: 127 not found, 126 not executable."""
        # A pipe of our own: asyncio's would make wait() wait for whatever the process leaves behind, too.
        reading, writing = os.pipe()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                env=dict(environment),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=writing,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            os.close(reading)
            text = f"{command[0]} cannot be started: {error.strerror}"
            self._say(self.worker, text)
            self._finish(127 if isinstance(error, FileNotFoundError) else 126, text)
            return
        finally:
            os.close(writing)
        self._life = asyncio.create_task(self._live(reading), name=self.metadata.name)

    @property
    def alive(self) -> bool:
        """Whether it may still run or write."""
        return self._end is None

    def pod(self) -> Pod:
        """Return what the API server would say of its pod."""
        if self._end is None:
            state, phase = ContainerState(running=Running(started_at=self.metadata.creation_timestamp)), "Running"
        else:
            state = ContainerState(terminated=self._end)
            phase = "Failed" if self._end.exit_code else "Succeeded"
        container = ContainerStatus(name=CONTAINER, state=state)
        return Pod(metadata=self.metadata, status=PodStatus(phase=phase, container_statuses=(container,)))

    def stop(self, grace_seconds: float) -> None:
        """Send SIGTERM, and SIGKILL when the time is over. A second call is a second SIGTERM with its own time."""
        if self.metadata.deletion_timestamp is None:
            self.metadata = msgspec.structs.replace(self.metadata, deletion_timestamp=datetime.now(UTC))
        if not self.alive:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()  # the supervisor alone: it passes the signal on to its workers
        if self._killer is not None:
            self._killer.cancel()
        self._killer = asyncio.get_running_loop().call_later(grace_seconds, self.kill)

    def kill(self) -> None:
        """Send SIGKILL to the whole group."""
        if self._life is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def gone(self) -> None:
        """Return when it has ended and everything that it wrote was told."""
        if self._life is not None:
            await self._life

    async def _live(self, output: int) -> None:
        stream = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(output, "rb")
        )
        reader = asyncio.create_task(self._tell(stream))
        code = await self._process.wait()
        self.kill()  # what it left behind holds ports, memory and its output open
        await asyncio.wait({reader}, timeout=_DRAIN_SECONDS)
        reader.cancel()
        transport.close()
        if self._killer is not None:
            self._killer.cancel()
        self._finish(128 - code if code < 0 else code, self._read_last_word(failed=code != 0))

    async def _tell(self, output: asyncio.StreamReader) -> None:
        async for line in lines(_pieces(output)):
            self._tail.append(line)
            self._say(self.worker, line)

    def _read_last_word(self, *, failed: bool) -> str:
        with contextlib.suppress(OSError):
            text = self.last_word.read_bytes()[:TERMINATION_MESSAGE_BYTES_MAX].decode(errors="replace")
            if text:
                return text
        return "\n".join(self._tail)[-_LAST_CHARS:] if failed else ""

    def _finish(self, exit_code: int, message: str) -> None:
        self.exit_code = exit_code
        reason = "Completed" if exit_code == 0 else "Error"
        self._end = Terminated(exit_code=exit_code, reason=reason, message=message, finished_at=datetime.now(UTC))
        self._ended()


async def _pieces(output: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while piece := await output.read(_PIECE_BYTES):
        yield piece
