"""A plain kubeconfig is read without the client library, and says the same as with it; all others are left to it."""

import base64
import ssl
import subprocess
import sys

import pytest
import yaml

from ganger.kube import access
from ganger.kube.access import AccessError, KubeconfigToken
from ganger.kube.kubeconfig import plain
from shells import installed


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A certificate and its key, as files."""
    folder = tmp_path_factory.mktemp("pair")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-subj", "/CN=me", "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def written(tmp_path, user, cluster=None, context=None, **more):
    path = tmp_path / "config"
    whole = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"} | (context or {})}],
        "clusters": [{"name": "k", "cluster": {"server": "https://h:1/base/"} | (cluster or {})}],
        "users": [{"name": "u", "user": user}],
    }
    path.write_text(yaml.safe_dump(whole | more))
    return str(path)


def data(path):
    return base64.b64encode(path.read_bytes()).decode()


def users(pair):
    return {
        "token": {"token": "t"},
        "password": {"username": "ann", "password": "p"},
        "data": {"client-certificate-data": data(pair / "cert.pem"), "client-key-data": data(pair / "key.pem")},
        "files": {"client-certificate": str(pair / "cert.pem"), "client-key": str(pair / "key.pem")},
        "nothing": {},
    }


@pytest.mark.parametrize("kind", ["token", "password", "data", "files", "nothing"])
@pytest.mark.parametrize(
    "cluster",
    [
        {},
        {"insecure-skip-tls-verify": True},
        {"tls-server-name": "kubernetes", "proxy-url": "http://proxy:3128"},
        {"server": "http://h:1"},
    ],
)
async def test_it_says_what_the_client_library_says(tmp_path, pair, kind, cluster):
    authority = {"certificate-authority-data": data(pair / "cert.pem")}
    path = written(tmp_path, users(pair)[kind], authority | cluster, {"namespace": "team"})

    found = plain(path)
    library = KubeconfigToken(path, None)
    expected = await library._ask_library()

    assert (expected.url, expected.server_name, expected.proxy, expected.namespace) == (
        found.url,
        found.server_name,
        found.proxy,
        found.namespace,
    )
    assert library._text == found.authorization
    assert (expected.tls is None) == (found.tls is None)
    if found.tls is not None:
        assert (expected.tls.verify_mode, expected.tls.check_hostname) == (
            found.tls.verify_mode,
            found.tls.check_hostname,
        )
        assert expected.tls.get_ca_certs() == found.tls.get_ca_certs()


def test_files_are_looked_for_beside_the_kubeconfig_and_a_token_file_wins(tmp_path, pair):
    (tmp_path / "token").write_text("from-the-file\n")
    (tmp_path / "ca.pem").write_bytes((pair / "cert.pem").read_bytes())
    path = written(tmp_path, {"token": "t", "tokenFile": "token"}, {"certificate-authority": "ca.pem"})

    found = plain(path)

    assert "Bearer from-the-file" == found.authorization
    assert 1 == len(found.tls.get_ca_certs())


def test_a_user_who_acts_as_another_does_so(tmp_path):
    found = plain(written(tmp_path, {"token": "t", "as": "ann", "as-groups": ["team", "ops"]}))

    assert ("ann", ("team", "ops")) == (found.act_as, found.act_as_groups)


@pytest.mark.parametrize(
    "user, more",
    [
        ({"exec": {"command": "x"}}, {}),
        ({"auth-provider": {"name": "oidc"}}, {}),
        ({"token": "t"}, {"current-context": "other"}),
        ({"token": "t"}, {"current-context": ""}),
        ({"token": "t"}, {"clusters": None}),
        ({"token": "t"}, {"users": []}),
        ({"token": "t"}, {"clusters": [{"name": "k", "cluster": {}}]}),
        ({"token": "t"}, {"clusters": [{"name": "k", "cluster": {"server": "h:1"}}]}),
    ],
)
def test_what_is_not_plain_is_left_to_the_client_library(tmp_path, user, more):
    assert plain(written(tmp_path, user, **more)) is None


def test_several_files_none_and_something_else_are_left_to_it_too(tmp_path):
    path = written(tmp_path, {"token": "t"})
    (tmp_path / "other").write_text("- a list\n")
    (tmp_path / "broken").write_text("{")

    for text in (f"{path}:{path}", str(tmp_path / "nothing"), str(tmp_path / "other"), str(tmp_path / "broken")):
        assert plain(text) is None, text


async def test_a_certificate_that_is_none_is_told_with_its_kubeconfig(tmp_path):
    path = written(tmp_path, {"token": "t"}, {"certificate-authority-data": "bm9uZQ=="})

    with pytest.raises(AccessError, match=path):
        await access.from_kubeconfig(path)


async def test_a_token_that_changes_in_the_file_is_read_anew_when_it_is_refused(tmp_path):
    found = await access.from_kubeconfig(written(tmp_path, {"token": "old"}))
    written(tmp_path, {"token": "new"})

    assert await found.token.header() == "Bearer old"
    found.token.reject()
    assert await found.token.header() == "Bearer new"


def test_the_private_key_leaves_no_file(tmp_path, pair, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = written(tmp_path, users(pair)["data"])

    assert ssl.CERT_REQUIRED == plain(path).tls.verify_mode
    assert ["config"] == [one.name for one in tmp_path.iterdir()]


def test_no_client_library_is_loaded(tmp_path):
    path = written(tmp_path, {"token": "t"})
    probe = (
        "import asyncio, sys; from ganger.kube import access\n"
        f"asyncio.run(access.from_kubeconfig({path!r}))\n"
        "print(sorted({'kubernetes', 'aiohttp'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe], env=installed(tmp_path), capture_output=True, text=True, check=True
    )

    assert "[]\n" == done.stdout
