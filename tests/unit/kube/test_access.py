import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ganger.kube import access
from ganger.kube.access import AccessError


def kubeconfig(tmp_path: Path, user: dict, server: str = "http://127.0.0.1:1") -> str:
    path = tmp_path / "config"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u", "namespace": "team"}}],
        "clusters": [{"name": "k", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": user}],
    }
    path.write_text(json.dumps(config))
    return str(path)


def plugin(tmp_path: Path, body: str) -> dict:
    path = tmp_path / "plugin"
    path.write_text(f"#!/bin/sh\necho x >> {tmp_path}/calls\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(path)}}


def credential(**status) -> str:
    found = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}
    return f"echo '{json.dumps(found)}'"


async def test_a_kubeconfig_gives_url_token_and_namespace(tmp_path):
    found = await access.find(kubeconfig(tmp_path, {"token": "t"}))

    assert ("http://127.0.0.1:1", "team") == (found.url, found.namespace)
    assert await found.token.header() == "Bearer t"


async def test_an_exec_plugin_is_run_once_until_its_token_is_refused(tmp_path):
    found = await access.find(kubeconfig(tmp_path, plugin(tmp_path, credential(token="p"))))
    await found.token.header()
    assert await found.token.header() == "Bearer p"
    assert len((tmp_path / "calls").read_text().split()) == 1

    found.token.reject()
    await found.token.header()

    assert len((tmp_path / "calls").read_text().split()) == 2


async def test_an_exec_plugin_is_run_again_when_its_token_expires(tmp_path):
    user = plugin(tmp_path, credential(token="p", expirationTimestamp="2020-01-01T00:00:00Z"))
    found = await access.find(kubeconfig(tmp_path, user))

    await found.token.header()

    assert len((tmp_path / "calls").read_text().split()) == 2


async def test_an_exec_plugin_that_fails_is_named(tmp_path):
    with pytest.raises(AccessError, match="exec plug-in gave no credentials"):
        await access.find(kubeconfig(tmp_path, plugin(tmp_path, "exit 3")))


async def test_a_missing_kubeconfig_is_named(tmp_path):
    with pytest.raises(AccessError, match="nowhere"):
        await access.find(str(tmp_path / "nowhere"))


async def test_an_unknown_context_is_named(tmp_path):
    with pytest.raises(AccessError, match="other"):
        await access.find(kubeconfig(tmp_path, {"token": "t"}), "other")


def test_a_pod_finds_the_api_server_by_its_service_account(tmp_path, authority):
    (tmp_path / "ca.crt").write_bytes(authority)
    (tmp_path / "token").write_text("t")
    (tmp_path / "namespace").write_text("sys\n")

    found = access.in_cluster(tmp_path, {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"})

    assert ("https://[fd00::1]:443", "sys") == (found.url, found.namespace)


def test_outside_a_pod_there_is_no_service_account(tmp_path):
    with pytest.raises(AccessError, match="not a pod"):
        access.in_cluster(tmp_path, {})


def test_a_pod_never_imports_the_client_library():
    code = "import sys, ganger.kube.http, ganger.kube.access; sys.exit('kubernetes' in sys.modules)"

    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture(scope="module")
def authority() -> bytes:
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
