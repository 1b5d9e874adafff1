"""What a report costs the operator that hears it: CPU of one, over kept TLS connections, and memory of many workers.

The operator's own desk, reports and server, in this process; workers are connections of another one, which sends as
fast as it is answered. Each job has two workers and trains, so that a report of worker 0 also moves the estimate of the
end. Tokens are in the form of the kubelet's, confirmed by a review that costs nothing here: it happens once in 48
minutes for each worker. What a report sets off later, one status write in ten seconds for each job, is not in it.

    make bench ONLY=reports
"""

import asyncio
import base64
import gc
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime

from ganger.api.observed import Metadata, OwnerReference, Pod
from ganger.api.types import TrainingJob, decode
from ganger.control.certificate import Certificate
from ganger.control.desk import PREFIX, Desk
from ganger.control.reports import Reports
from ganger.control.tokens import Tokens
from ganger.observe.server import Limits, Server

WORKERS, REPORTS, ROUNDS = 500, 5000, 5
CLIENT = """
import asyncio, json, ssl, sys

async def main(port, authority, tokens, reports):
    trust = ssl.create_default_context(cafile=authority)
    counter = iter(range(reports))
    async def worker(number, token):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust, server_hostname="localhost")
        opened.append(1)
        if len(opened) == len(tokens):
            print("connected", flush=True)
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
            go.set()
        await go.wait()
        sequence = 0
        for _ in counter:
            sequence += 1
            body = json.dumps({
                "attempt": 0, "worker": number % 2, "sequence": base[0] + sequence, "phase": "Training",
                "step": sequence * 7, "totalSteps": 100000, "epoch": 1, "loss": 1.25, "samplesPerSecond": 512.5,
                "metrics": {"accuracy": 0.9}, "seconds": {"starting": 5.0, "productive": 60.0 + sequence},
            }).encode()
            head = f"POST /v1/jobs/uid-{number // 2}/report HTTP/1.1\\r\\nAuthorization: Bearer {token}\\r\\n"
            writer.write(f"{head}Content-Length: {len(body)}\\r\\n\\r\\n".encode() + body)
            head = await reader.readuntil(b"\\r\\n\\r\\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = next(line for line in head.split(b"\\r\\n") if line.lower().startswith(b"content-length"))
            await reader.readexactly(int(length.split(b":")[1]))
        writer.close()
    opened, go, base = [], asyncio.Event(), [int(sys.argv[5])]
    await asyncio.gather(*(worker(number, token) for number, token in enumerate(tokens)))

asyncio.run(main(int(sys.argv[1]), sys.argv[2], json.load(open(sys.argv[3])), int(sys.argv[4])))
"""


class Fleet:
    """Half as many jobs as workers, as the caches would hold them."""

    def __init__(self) -> None:
        self.pods = {f"job-{number // 2}-0-{number % 2}": _pod(number) for number in range(WORKERS)}
        self.jobs = {f"job-{number}": _job(number) for number in range(WORKERS // 2)}

    def pod(self, namespace: str, name: str) -> Pod | None:
        return self.pods.get(name)

    def job(self, namespace: str, name: str) -> TrainingJob | None:
        return self.jobs.get(name)

    async def review(self, resource, spec):
        said = json.loads(base64.urlsafe_b64decode(spec["token"].split(".")[1] + "=="))["kubernetes.io"]
        extra = {
            "authentication.kubernetes.io/pod-name": [said["pod"]["name"]],
            "authentication.kubernetes.io/pod-uid": [said["pod"]["uid"]],
        }
        user = {"username": f"system:serviceaccount:{said['namespace']}:default", "extra": extra}
        return json.dumps({"status": {"authenticated": True, "audiences": spec["audiences"], "user": user}}).encode()


def _job(number: int) -> TrainingJob:
    metadata = {"name": f"job-{number}", "namespace": "team", "uid": f"uid-{number}"}
    return decode({"metadata": metadata, "spec": {"task": "m:t", "workers": 2}})


def _pod(number: int) -> Pod:
    name = f"job-{number // 2}-0-{number % 2}"
    labels = {
        "ganger.dev/job": f"job-{number // 2}",
        "ganger.dev/attempt": "0",
        "ganger.dev/worker": str(number % 2),
    }
    owner = OwnerReference(uid=f"uid-{number // 2}", controller=True)
    return Pod(
        metadata=Metadata(name=name, namespace="team", uid=f"pod-{number}", labels=labels, owner_references=(owner,))
    )


def _token(number: int) -> str:
    claims = {
        "aud": [f"uid-{number // 2}"],
        "exp": time.time() + 3600,
        "kubernetes.io": {
            "namespace": "team",
            "pod": {"name": f"job-{number // 2}-0-{number % 2}", "uid": f"pod-{number}"},
        },
    }
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"{'h' * 60}.{payload}.{'s' * 342}"  # as long as a real one


async def _measured(folder: str) -> dict:
    fleet, reports = Fleet(), Reports()
    accepted: list[str] = []
    # The clock of the desk runs fast: this bench does not keep the half second that each worker has to wait.
    ticks = iter(range(10**9))
    desk = Desk(
        fleet,
        Tokens(fleet, clock=time.time, monotonic=time.monotonic),
        reports,
        now=lambda: datetime.now(UTC),
        monotonic=lambda: float(next(ticks)),
        leads=lambda: True,
        heard=lambda key: None,
        counted=lambda result, seconds: accepted.append(result),
    )
    certificate = Certificate(fleet, namespace="n", name="", hosts=("localhost",), now=lambda: datetime.now(UTC))
    await certificate.load()
    server = Server({PREFIX: desk.answer}, limits=Limits(connections=2 * WORKERS, idle_seconds=90))
    port = await server.start("127.0.0.1", 0, tls=certificate.context)
    authority, tokens = f"{folder}/ca.crt", f"{folder}/tokens.json"
    with open(authority, "w") as file:  # noqa: ASYNC230, PTH123 - before anything is measured
        file.write(certificate.authority)
    with open(tokens, "w") as file:  # noqa: ASYNC230, PTH123
        json.dump([_token(number) for number in range(WORKERS)], file)
    gc.collect()
    before, cpu, handshakes, rss = _rss(), [], [], []
    for turn in range(ROUNDS):
        connecting = time.process_time()
        client = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CLIENT, str(port), authority, tokens, str(REPORTS), str(turn * REPORTS),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert client.stdin is not None
        assert client.stdout is not None
        assert await client.stdout.readline() == b"connected\n"
        handshakes.append((time.process_time() - connecting) / WORKERS)
        began = time.process_time()
        client.stdin.write(b"\n")
        assert await client.wait() == 0
        cpu.append((time.process_time() - began) / REPORTS)
        rss.append(_rss())
    await server.stop()
    assert set(accepted) == {"accepted"}, set(accepted)
    assert len(accepted) == ROUNDS * REPORTS
    return {
        "workers": WORKERS,
        # Without the first round, in which each token is reviewed.
        "cpuMillisecondsPerReport": round(1e3 * statistics.median(cpu[1:]), 3),
        "cpuMillisecondsPerReportByRound": [round(1e3 * seconds, 3) for seconds in cpu],
        "cpuMillisecondsPerHandshake": round(1e3 * statistics.median(handshakes), 2),
        "mebibytesForAllWorkers": round((max(rss) - before) / 2**20, 1),
    }


def _rss() -> int:
    with open("/proc/self/statm") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * resource.getpagesize()


def measure() -> dict:
    """Run the rounds and return the figures."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_measured(folder))
