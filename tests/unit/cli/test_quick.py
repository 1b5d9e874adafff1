"""Names for a shell over the standard library, asked of a real server on loopback."""

import json
import ssl
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import yaml

from ganger.cli import quick
from ganger.cli.session import Target
from shells import installed


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-subj", "/CN=kubernetes", "-addext", "subjectAltName=DNS:kubernetes"]
    command += ["-addext", "keyUsage=critical,keyCertSign,digitalSignature"]
    command += ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.fixture
def server(certificate):
    """An HTTPS server that answers with `names`, and remembers what it was asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.asked.append((self.path, self.headers))
            body = json.dumps({"items": [{"metadata": {"name": name}} for name in self.server.names]}).encode()
            self.send_response(self.server.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.names, server.status = [], ["digits", "other"], 200
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def kubeconfig(tmp_path, server, certificate):
    def write(user=None, **cluster):
        whole = {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u", "namespace": "team"}}],
            "clusters": [
                {
                    "name": "k",
                    "cluster": {
                        "server": f"https://127.0.0.1:{server.server_port}",
                        "certificate-authority": str(certificate / "cert.pem"),
                        "tls-server-name": "kubernetes",
                    }
                    | cluster,
                }
            ],
            "users": [{"name": "u", "user": user or {"token": "secret"}}],
        }
        path = tmp_path / "config"
        path.write_text(yaml.safe_dump(whole))
        return str(path)

    return write


def test_names_are_asked_once_as_metadata_with_the_token_of_the_kubeconfig(server, kubeconfig):
    assert ["digits", "other"] == quick.names(Target(kubeconfig=kubeconfig()), "trainingjobs")

    ((path, headers),) = server.asked
    assert "/apis/ganger.dev/v1alpha1/namespaces/team/trainingjobs?limit=100" == path
    assert ("Bearer secret", True) == (headers["Authorization"], "PartialObjectMetadataList" in headers["Accept"])


def test_the_namespace_the_user_and_the_kind_of_the_line_are_asked(server, kubeconfig):
    target = Target(kubeconfig=kubeconfig(), namespace="vision", act_as="ann", act_as_groups=("a", "b"))

    quick.names(target, "trainingjobs")
    quick.names(target, "namespaces")

    assert ["/apis/ganger.dev/v1alpha1/namespaces/vision/trainingjobs", "/api/v1/namespaces"] == [
        path.partition("?")[0] for path, _ in server.asked
    ]
    assert ("ann", ["a", "b"]) == (
        server.asked[0][1]["Impersonate-User"],
        server.asked[0][1].get_all("Impersonate-Group"),
    )


def test_a_refusal_and_a_server_of_another_name_are_errors_that_the_completion_swallows(server, kubeconfig):
    path = kubeconfig()
    server.status = 403
    with pytest.raises(PermissionError):
        quick.names(Target(kubeconfig=path), "trainingjobs")
    with pytest.raises(ssl.SSLCertVerificationError):
        quick.names(Target(kubeconfig=kubeconfig(**{"tls-server-name": "other"})), "trainingjobs")


def test_another_way_to_the_cluster_is_left_to_the_client_library(kubeconfig, monkeypatch):
    assert quick.names(Target(kubeconfig=kubeconfig(user={"exec": {"command": "x"}})), "trainingjobs") is None
    assert quick.names(Target(kubeconfig=kubeconfig(**{"proxy-url": "http://p:1"})), "trainingjobs") is None
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    assert quick.names(Target(), "trainingjobs") is None


def test_a_name_is_completed_without_the_client_library(server, kubeconfig, tmp_path):
    probe = (
        "import sys; from ganger.cli.completion import *\n"
        f"print(kubectl(['status', '--kubeconfig', {kubeconfig()!r}, 'dig'], Session()))\n"
        "print(sorted({'aiohttp', 'kubernetes', 'torch', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe], env=installed(tmp_path), capture_output=True, text=True, check=True
    )

    assert "['digits', ':4']\n[]\n" == done.stdout
