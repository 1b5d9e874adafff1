"""The control channel against the real API server: real tokens of real pods, the certificate, the address."""

import base64
import json
import signal
import ssl
import time
import urllib.error
import urllib.request

import pytest

from apiclient import wait_for
from ports import free_port

pytestmark = pytest.mark.integration
SERVICE, SECRET = "ganger-control", "ganger-control-tls"


class Control:
    """A namespace whose operators listen for reports."""

    def __init__(self, world):
        self.world = world
        self.port = free_port()
        self.secrets = f"/api/v1/namespaces/{world.namespace}/secrets"
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "type": "Opaque"}
        world.api.create(self.secrets, body)

    def start(self, name="operator-a", ip="10.1.2.3", **settings):
        port = settings.pop("port", self.port)
        return self.world.start_operator(
            name,
            GANGER_CONTROL_URL=f"https://localhost:{self.port}",
            GANGER_CONTROL_PORT=str(port),
            GANGER_CONTROL_SERVICE=SERVICE,
            GANGER_CONTROL_SECRET=SECRET,
            GANGER_POD_IP=ip,
            **settings,
        )

    def secret(self):
        return self.world.api.get(f"{self.secrets}/{SECRET}").get("data") or {}

    def endpoint(self):
        path = f"/apis/discovery.k8s.io/v1/namespaces/{self.world.namespace}/endpointslices/{SERVICE}"
        found = self.world.api.get(path)
        return found["endpoints"][0]["addresses"][0] if found else None

    def token(self, pod, audience=None, job="digits"):
        """A token as the kubelet would project it into that pod."""
        found = self.world.api.get(f"{self.world.pods}/{pod}")
        bound = {"kind": "Pod", "apiVersion": "v1", "name": pod, "uid": found["metadata"]["uid"]}
        audience = audience or self.world.job(job)["metadata"]["uid"]
        body = {"spec": {"audiences": [audience], "expirationSeconds": 3600, "boundObjectRef": bound}}
        path = f"/api/v1/namespaces/{self.world.namespace}/serviceaccounts/default/token"
        return self.world.api.call("POST", path, body)["status"]["token"]

    def trust(self):
        return ssl.create_default_context(cadata=base64.b64decode(self.secret()["ca.crt"]).decode())

    def post(self, token, body=None, *, port=None, kind="report", job="digits", **said):
        """Status and answer of one report."""
        uid = self.world.job(job)["metadata"]["uid"]
        said = {"attempt": 0, "worker": 0, "sequence": int(time.monotonic() * 1e6), "phase": "Training"} | said
        request = urllib.request.Request(f"https://localhost:{port or self.port}/v1/jobs/{uid}/{kind}", method="POST")
        request.data = json.dumps(said if body is None else body).encode()
        request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, context=self.trust(), timeout=10) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metrics(self, operator):
        with urllib.request.urlopen(f"http://127.0.0.1:{operator.port}/metrics", timeout=5) as answer:
            return answer.read().decode()


@pytest.fixture
def control(world):
    return Control(world)


@pytest.fixture
def heard(control):
    """With a leading operator and a running job of two workers."""
    control.operator = control.start()
    wait_for(control.world.leader, 20, "a leader")
    control.world.running_job()
    return control


def test_a_report_becomes_progress_in_the_status(heard):
    token = heard.token("digits-0-0")
    answer = heard.post(token, step=7, totalSteps=40, epoch=1, loss=0.5, samplesPerSecond=120.5, metrics={"f1": 0.75})

    assert (200, {"nextReportSeconds": 5.0, "directives": [], "live": {}}) == answer
    progress = wait_for(lambda: heard.world.status().get("progress"), 5, "progress")
    assert (7, 40, "17%", 1, "0.5", 120.5) == tuple(
        progress[key] for key in ("step", "totalSteps", "percent", "epoch", "loss", "samplesPerSecond")
    )
    assert [{"name": "f1", "value": 0.75}] == progress["metrics"]
    assert "Running" == heard.world.status()["phase"]
    assert 0 < heard.world.status()["goodput"]["seconds"]["productive"]


def test_many_reports_in_ten_seconds_cost_one_status_write_and_one_review(heard):
    token = heard.token("digits-0-0")
    heard.post(token, step=1, totalSteps=400)
    wait_for(lambda: heard.world.status().get("progress"), 5, "progress")
    version = heard.world.job()["metadata"]["resourceVersion"]
    for step in range(2, 10):
        time.sleep(0.55)
        assert 200 == heard.post(token, step=step, totalSteps=400)[0]

    assert version == heard.world.job()["metadata"]["resourceVersion"], "within ten seconds nothing is written"
    assert 'ganger_operator_token_reviews_total{result="ok"} 1.0' in heard.metrics(heard.operator)
    assert 'ganger_operator_reports_total{result="accepted"} 9.0' in heard.metrics(heard.operator)
    wait_for(lambda: 9 == heard.world.status()["progress"]["step"], 10, "the newest step")


def test_who_is_not_a_live_worker_of_the_attempt_is_refused(heard):
    other = heard.token("digits-0-0", audience="https://kubernetes.default.svc")
    good = heard.token("digits-0-0")
    head, payload, signature = good.split(".")
    forged = f"{head}.{payload}.{signature[::-1]}"

    assert 401 == heard.post("")[0]
    assert 401 == heard.post(other)[0]
    assert 401 == heard.post(forged)[0]
    assert 403 == heard.post(good, worker=1)[0]
    assert 403 == heard.post(good, attempt=1)[0]
    assert 400 == heard.post(good, step="seven")[0]
    assert 200 == heard.post(good)[0]
    text = heard.metrics(heard.operator)
    for result in ("unauthorised", "forged", "malformed"):
        assert f'ganger_operator_reports_total{{result="{result}"}}' in text


def test_a_worker_of_the_attempt_before_is_heard_no_more(heard):
    token = heard.token("digits-0-0")
    assert 200 == heard.post(token)[0]
    heard.world.end("digits-0-1", 1)
    wait_for(lambda: heard.world.status().get("attempt") == 1, 10, "the next attempt")

    assert 403 == heard.post(token, step=3)[0]


def test_pods_carry_what_they_need_to_report(heard):
    pod = heard.world.api.get(f"{heard.world.pods}/digits-0-0")
    uid = heard.world.job()["metadata"]["uid"]
    env = {entry["name"]: entry.get("value") for entry in pod["spec"]["containers"][0]["env"]}
    volume = next(volume for volume in pod["spec"]["volumes"] if volume["name"] == "ganger-control")
    (token, authority) = volume["projected"]["sources"]

    assert f"https://localhost:{heard.port}/v1/jobs/{uid}" == env["GANGER_CONTROL_URL"]
    assert f"{env['GANGER_CONTROL_URL']}/progress" == env["KUBEFLOW_TRAINER_SERVER_URL"]
    assert {"audience": uid, "expirationSeconds": 3600, "path": "token"} == token["serviceAccountToken"]
    assert "ca.crt" == authority["downwardAPI"]["items"][0]["path"]
    assert (
        pod["metadata"]["annotations"]["ganger.dev/control-ca"] == base64.b64decode(heard.secret()["ca.crt"]).decode()
    )
    assert False is pod["spec"]["automountServiceAccountToken"]


def test_an_annotation_reaches_the_worker_until_it_is_done(heard):
    token = heard.token("digits-0-0")
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2))
    heard.world.api.merge(
        f"{heard.world.jobs}/digits", {"metadata": {"annotations": {"ganger.dev/checkpoint-requested-at": at}}}
    )

    def wishes(**said):
        time.sleep(0.6)
        return heard.post(token, **said)[1]["directives"]

    (wish,) = wait_for(wishes, 10, "the directive")
    assert {"id": f"Checkpoint-{at}", "kind": "Checkpoint"} == wish
    assert [] == wishes(done=[wish["id"]])


def test_the_leader_is_found_by_the_service_and_a_standby_sends_workers_away(heard):
    assert "10.1.2.3" == wait_for(heard.endpoint, 5, "an endpoint")
    port = free_port()
    standby = heard.start("operator-b", ip="10.1.2.4", port=port)
    token = heard.token("digits-0-0")

    def asked():
        try:
            return heard.post(token, port=port)[0]
        except OSError:
            return None  # it does not listen yet

    assert 503 == wait_for(asked, 20, "the standby's answer")
    heard.operator.signal(signal.SIGTERM)
    assert "10.1.2.4" == wait_for(lambda: heard.endpoint() != "10.1.2.3" and heard.endpoint(), 10, "the new address")
    assert 200 == wait_for(
        lambda: (code := heard.post(token, port=port, step=8)[0]) == 200 and code, 5, "the new leader"
    )
    assert standby.process.poll() is None


def test_replicas_share_one_certificate_which_outlives_them(heard):
    before = heard.secret()
    port = free_port()
    heard.start("operator-b", ip="10.1.2.4", port=port)
    heard.operator.stop()
    wait_for(lambda: heard.endpoint() == "10.1.2.4", 20, "the new leader")

    assert before == heard.secret()
    assert {"ca.crt", "ca.key", "tls.crt", "tls.key", "renewAfter"} == set(before)


def test_metrics_may_be_kept_for_those_who_may_read_them(control):
    operator = control.start(GANGER_METRICS_AUTH="true")
    wait_for(control.world.leader, 20, "a leader")
    with pytest.raises(urllib.error.HTTPError) as plain:
        control.metrics(operator)
    assert 404 == plain.value.code

    def asked(token):
        request = urllib.request.Request(f"https://localhost:{control.port}/metrics")
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, context=control.trust(), timeout=10) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code

    namespace = control.world.namespace
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default/token"
    nobody = control.world.api.call("POST", path, {"spec": {}})["status"]["token"]
    assert (401, 401, 403) == (asked(""), asked("nonsense"), asked(nobody))

    rbac = "/apis/rbac.authorization.k8s.io/v1"
    role = {"metadata": {"name": f"reader-{namespace}"}, "rules": [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]}
    control.world.api.create(f"{rbac}/clusterroles", role)
    subject = {"kind": "ServiceAccount", "name": "default", "namespace": namespace}
    binding = {
        "metadata": {"name": f"reader-{namespace}"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": f"reader-{namespace}"},
        "subjects": [subject],
    }
    control.world.api.create(f"{rbac}/clusterrolebindings", binding)
    wait_for(lambda: asked(nobody) == 200, 15, "the refusal is forgotten after ten seconds")
