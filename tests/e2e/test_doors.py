"""Ways into a pod through a real API server, kubelet and container: exec and port-forward, as the CLI uses them."""

import asyncio
import hashlib
import json
import os
import secrets

import pytest

from ganger.kube import access, portforward
from ganger.kube import exec as kube_exec
from ganger.kube.channels import Streams
from ganger.kube.errors import ApiError, NotFound, ServerError
from ganger_dev import cluster, images

pytestmark = pytest.mark.e2e
PORT = 7007
# At the loopback of the pod: echoes until the other side closes, or sends 8 MiB for a G; one line of Python each.
SERVER = f"""
import socket, threading
def talk(peer):
    with peer:
        while data := peer.recv(65536):
            peer.sendall(b'x' * (8 << 20) if data == b'G' else data)
            if data == b'G':
                return
server = socket.create_server(('127.0.0.1', {PORT}))
print('listening', flush=True)
while True:
    threading.Thread(target=talk, args=(server.accept()[0],), daemon=True).start()
"""


@pytest.fixture(scope="module")
def pod():
    """A pod of the trainer's image in a restricted namespace: its namespace and name, and the kubeconfig."""
    image = images.pytorch()
    images.build(image)
    embedded = cluster.up()
    images.load(image, embedded.containerd)
    namespace = f"doors-{secrets.token_hex(3)}"
    embedded.kubectl("create", "namespace", namespace)
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "door", "namespace": namespace},
        "spec": {
            "containers": [
                {"name": "main", "image": image.name, "args": ["python", "-c", SERVER], "securityContext": security}
            ],
            "terminationGracePeriodSeconds": 0,
        },
    }
    embedded.kubectl("create", "-f", "-", stdin=json.dumps(body))
    embedded.kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/door", "--timeout=120s")
    yield namespace, "door", str(embedded.kubeconfig)
    embedded.kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.fixture
def through(pod):
    """Run a coroutine that is given the streams, the namespace and the name of the pod."""
    namespace, name, kubeconfig = pod

    def run(body):
        async def opened():
            async with asyncio.timeout(60), Streams(await access.find(kubeconfig)) as streams:
                return await body(streams, namespace, name)

        return asyncio.run(opened())

    return run


async def _run(streams, namespace, name, *command, stdin=b"", tty=False):
    async with kube_exec.run(streams, namespace, name, "main", command, tty=tty, stdin=True) as process:
        if tty:
            await process.resize(97, 31)

        async def send():
            await process.write(stdin)
            if not tty:
                await process.end_input()

        sending = asyncio.create_task(send())
        found = {1: b"", 2: b""}
        async for channel, data in process.output():
            found[channel] += data
        await sending
        return found[1], found[2], process.exit_code


def test_outputs_are_kept_apart_and_the_exit_code_is_the_commands(through):
    said = through(lambda *where: _run(*where, "sh", "-c", "echo out; echo err >&2; exit 7"))

    assert (b"out\n", b"err\n", 7) == said


def test_input_of_megabytes_comes_whole_and_its_end_ends_the_command(through):
    data = os.urandom(3 << 20)

    out, _, code = through(lambda *where: _run(*where, "sha256sum", stdin=data))

    assert (hashlib.sha256(data).hexdigest(), 0) == (out.split()[0].decode(), code)


def test_a_terminal_has_our_size_and_ends_with_its_shell(through):
    out, _, code = through(
        lambda *where: _run(*where, "sh", "-c", "sleep 0.5; stty size; read x; exit 3", tty=True, stdin=b"y\n")
    )

    assert (True, 3) == (b"31 97" in out, code)


def test_a_signal_and_a_missing_command_are_told_apart_from_exit_codes(through):
    assert 137 == through(lambda *where: _run(*where, "sh", "-c", "kill -9 $$"))[2]
    with pytest.raises(ApiError, match="no-such-command"):
        through(lambda *where: _run(*where, "no-such-command"))


def test_a_pod_or_container_that_is_not_there_is_told_by_name(through):
    with pytest.raises(NotFound, match='pods "nobody" not found'):
        through(lambda streams, namespace, _: _run(streams, namespace, "nobody", "true"))

    async def other(streams, namespace, name):
        async with kube_exec.run(streams, namespace, name, "nobody", ["true"], tty=False, stdin=False):
            pass

    with pytest.raises(ApiError, match="container nobody is not valid for pod door"):
        through(other)


async def _echo(streams, namespace, name, data):
    async with portforward.connect(streams, namespace, name, PORT) as pipe:
        await pipe.write(data)
        got = b""
        async for piece in pipe.pieces():
            got += piece
            if len(got) >= len(data):
                break
        return got


def test_many_connections_to_a_port_of_the_loopback_do_not_mix(through):
    async def many(*where):
        sent = [os.urandom(200_000) for _ in range(20)]
        return sent == await asyncio.gather(*(_echo(*where, data) for data in sent))

    assert through(many)


def test_what_the_pod_still_sends_comes_whole_before_its_close(through):
    async def fetched(streams, namespace, name):
        async with portforward.connect(streams, namespace, name, PORT) as pipe:
            await pipe.write(b"G")
            return sum([len(piece) async for piece in pipe.pieces()])

    assert 8 << 20 == through(fetched)


def test_a_port_at_which_nobody_listens_is_told(through):
    async def closed(streams, namespace, name):
        async with portforward.connect(streams, namespace, name, PORT + 1) as pipe:
            return [piece async for piece in pipe.pieces()]

    with pytest.raises(ServerError, match="refused"):
        through(closed)
