"""One connection to a port of a pod, through the API server and the kubelet.

The kubelet connects to the port inside of the pod, at its loopback too. The protocol has no half-closed connection: who
has sent all goes on reading until the pod closes.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ganger.kube.channels import V4, Channels, Opens
from ganger.kube.errors import ServerError

DATA, ERROR = range(2)
PIECE_BYTES = 32 * 1024
_PORT_BYTES = 2  # each channel begins with the number of its port


class Pipe:
    """An open connection to a port of a pod."""

    def __init__(self, channels: Channels) -> None:
        self._channels = channels

    async def write(self, data: bytes) -> None:
        """Send bytes; waits while the pod does not take them. Raises Unreachable."""
        for start in range(0, len(data), PIECE_BYTES):
            await self._channels.send(DATA, data[start : start + PIECE_BYTES])

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield what the pod sends until it closes. Raises ServerError where nobody listens at the port."""
        begun = {DATA: 0, ERROR: 0}
        trouble = b""
        async for channel, data in self._channels.messages():
            if channel not in begun:
                continue
            skipped = min(len(data), _PORT_BYTES - begun[channel])
            begun[channel] += skipped
            rest = data[skipped:]
            if channel == ERROR:
                trouble += rest
                if trouble:
                    break
            elif rest:
                yield rest
        if trouble:
            raise ServerError(500, "PortForward", trouble.decode(errors="replace"))


@asynccontextmanager
async def connect(streams: Opens, namespace: str, pod: str, port: int) -> AsyncIterator[Pipe]:
    """Open one connection and close it afterwards. Raises ApiError where the API server refuses."""
    async with streams.open(namespace, pod, "portforward", [("ports", str(port))], (V4,)) as channels:
        yield Pipe(channels)
