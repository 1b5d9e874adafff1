"""What one operator hands to another, over TLS of the certificate that they share."""

import socket
from contextlib import asynccontextmanager

from ganger.control.peers import FORWARDED, Peers
from ganger.observe.server import Request, Response, Server
from unit.control.test_certificate import HOSTS, Secrets, loaded

REPORT = Request(method="POST", path="/v1/jobs/uid-1/report", headers={"authorization": "Bearer t"}, body=b"{}")


@asynccontextmanager
async def operator(certificate, answer):
    server = Server({"/v1/jobs/": answer})
    port = await server.start("127.0.0.1", 0, tls=certificate.context)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop()


async def test_the_request_goes_on_as_it_came_and_the_answer_comes_back():
    seen = []

    async def answer(request):
        seen.append(request)
        return Response(status=429, body=b"limited\n", retry_after_seconds=2)

    found = await loaded(Secrets())
    peers = Peers(lambda: found.authority, HOSTS[0])
    async with operator(found, answer) as address:
        answers = [await peers.forward(address, REPORT) for _ in range(2)]
        await peers.close()

    assert [(429, b"limited\n", 2)] * 2 == [(each.status, each.body, each.retry_after_seconds) for each in answers]
    assert [(REPORT.path, b"{}", "Bearer t", "1")] * 2 == [
        (each.path, each.body, each.headers["authorization"], each.headers[FORWARDED]) for each in seen
    ]


async def test_an_operator_of_another_certificate_gets_nothing():
    seen = []

    async def answer(request):
        seen.append(request)
        return Response()

    stranger, ours = await loaded(Secrets()), await loaded(Secrets())
    peers = Peers(lambda: ours.authority, HOSTS[0])
    async with operator(stranger, answer) as address:
        refused = await peers.forward(address, REPORT)
        await peers.close()

    assert (503, 2, []) == (refused.status, refused.retry_after_seconds, seen)


async def test_an_operator_that_is_gone_is_asked_for_later():
    found = await loaded(Secrets())
    peers = Peers(lambda: found.authority, HOSTS[0])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        answer = await peers.forward(f"127.0.0.1:{probe.getsockname()[1]}", REPORT)
    await peers.close()

    assert (503, 2) == (answer.status, answer.retry_after_seconds)


async def test_a_renewed_authority_is_trusted_from_the_next_request_on():
    async def answer(request):
        return Response(body=b"ok")

    old, new = await loaded(Secrets()), await loaded(Secrets())
    trusted = [old]
    peers = Peers(lambda: trusted[0].authority, HOSTS[0])
    async with operator(new, answer) as address:
        assert 503 == (await peers.forward(address, REPORT)).status
        trusted[0] = new
        assert b"ok" == (await peers.forward(address, REPORT)).body
        await peers.close()
