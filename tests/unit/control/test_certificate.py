"""The certificate's life in its Secret, and a handshake with what was made."""

import asyncio
import base64
import json
import ssl
from datetime import UTC, datetime, timedelta

import pytest

from ganger.api.observed import Metadata
from ganger.control import authority
from ganger.control.certificate import Certificate
from ganger.kube.errors import Conflict, NotFound
from ganger.observe.server import Response, Server

NOW = datetime(2026, 11, 25, tzinfo=UTC)
HOSTS = ("ganger-control.ganger-system.svc", "127.0.0.1")


class Secrets:
    """One Secret, written by compare-and-swap as the API server does it."""

    def __init__(self, data=None):
        self.data, self.version, self.meanwhile = dict(data or {}), 1, None

    async def get(self, resource, namespace, name):
        if self.data is None:
            raise NotFound(404, "NotFound", f"secrets {name} not found")
        body = {"metadata": {"name": name, "resourceVersion": str(self.version)}, "data": self.data}
        return json.dumps(body).encode()

    async def patch(self, resource, namespace, name, patch):
        if self.meanwhile is not None:
            self.data, self.meanwhile = self.meanwhile, None
            self.version += 1
        if patch["metadata"]["resourceVersion"] != str(self.version):
            raise Conflict(409, "Conflict", "the object has been modified")
        self.data |= patch["data"]
        self.version += 1
        return Metadata()


def certificate(secrets, now=NOW, name="tls"):
    return Certificate(secrets, namespace="ganger-system", name=name, hosts=HOSTS, now=lambda: now)


async def loaded(secrets, **more):
    found = certificate(secrets, **more)
    await found.load()
    return found


async def test_an_empty_secret_is_filled_once_and_shared():
    secrets = Secrets()
    first = await loaded(secrets)
    written = dict(secrets.data)
    second = await loaded(secrets)

    assert {"tls.crt", "tls.key", "ca.crt", "ca.key", "renewAfter"} == set(secrets.data)
    assert written == secrets.data
    assert first.authority == second.authority
    assert first.authority.startswith("-----BEGIN CERTIFICATE-----")


async def test_of_two_that_fill_it_at_once_the_later_takes_what_the_first_made():
    other = Secrets()
    first = await loaded(other)
    secrets = Secrets()
    secrets.meanwhile = dict(other.data)

    assert first.authority == (await loaded(secrets)).authority


async def test_an_old_certificate_is_renewed_by_the_same_authority():
    secrets = Secrets()
    first = await loaded(secrets)
    before = dict(secrets.data)
    later = NOW + timedelta(days=authority.SERVING_DAYS - authority.RENEW_DAYS, seconds=1)
    second = await loaded(secrets, now=later)

    assert first.authority == second.authority, "workers that trust the authority go on trusting"
    assert before["ca.key"] == secrets.data["ca.key"]
    assert before["tls.crt"] != secrets.data["tls.crt"]


async def test_somebody_elses_certificate_is_used_and_never_written():
    theirs = authority.issue(HOSTS, NOW)
    secrets = Secrets(encoded(theirs))
    before = dict(secrets.data)
    found = await loaded(secrets, now=NOW + timedelta(days=3000))

    assert theirs.authority == found.authority
    assert before == secrets.data


@pytest.mark.parametrize("missing", ["tls.crt", "tls.key", "ca.crt"])
async def test_half_a_certificate_is_refused_with_what_is_missing(missing):
    data = encoded(authority.issue(HOSTS, NOW))
    del data[missing]

    with pytest.raises(ValueError, match=f"it lacks {missing}"):
        await loaded(Secrets(data))


async def test_without_a_secret_it_lives_in_the_process():
    assert (await loaded(None, name="")).authority.startswith("-----BEGIN CERTIFICATE-----")


async def test_a_client_that_trusts_the_authority_connects_and_another_does_not():
    found = await loaded(Secrets())

    async def answer(_):
        return Response(body=b"ok")

    server = Server({"/": answer})
    port = await server.start("127.0.0.1", 0, tls=found.context)
    try:
        assert b"ok" == await fetch(port, found.authority)
        with pytest.raises(ssl.SSLCertVerificationError):
            await fetch(port, (await loaded(Secrets())).authority)
        with pytest.raises(ssl.SSLCertVerificationError):
            await fetch(port, found.authority, host="elsewhere.svc")
    finally:
        await server.stop()


async def test_the_authority_fits_into_an_annotation_many_times():
    assert len((await loaded(Secrets())).authority) < 1000


async def fetch(port, ca, host=HOSTS[0]):
    trust = ssl.create_default_context(cadata=ca)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust, server_hostname=host)
    writer.write(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
    body = (await reader.read()).partition(b"\r\n\r\n")[2]
    writer.close()
    return body


def encoded(material):
    texts = {"tls.crt": material.certificate, "tls.key": material.key, "ca.crt": material.authority}
    return {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
