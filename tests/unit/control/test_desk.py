"""Who is heard at the desk, who is not, and what each is told."""

import json

import msgspec
import pytest

from builders import at, job, pod, with_status
from ganger.api.conditions import upsert
from ganger.contract import ANNOTATION_CHECKPOINT, REPORT_BYTES_MAX, REPORT_SECONDS
from ganger.control.desk import Desk
from ganger.control.peers import FORWARDED
from ganger.control.reports import Reports
from ganger.control.tokens import Tokens
from ganger.observe.server import Request, Response
from unit.control.pretend import NOW, Reviewer, token


class Place:
    """A desk, what it knows, and what came of it."""

    def __init__(self):
        self.job_ = job()
        self.pods = {"digits-0-0": pod(self.job_, 0), "digits-0-1": pod(self.job_, 1)}
        self.server, self.reports, self.leads, self.time = Reviewer(), Reports(), True, 100.0
        self.results, self.heard = [], []
        self.desk = Desk(
            self,
            Tokens(self.server, clock=lambda: NOW, monotonic=lambda: self.time),
            self.reports,
            now=lambda: at(self.time),
            monotonic=lambda: self.time,
            leads=lambda: self.leads,
            heard=self.heard.append,
            counted=lambda result, seconds: self.results.append(result),
        )

    def pod(self, namespace, name):
        return self.pods.get(name) if namespace == "team" else None

    def job(self, namespace, name):
        return self.job_ if (namespace, name) == self.job_.key else None

    async def send(self, body=None, *, path="/v1/jobs/uid-1/report", text=None, method="POST", **said):
        said = {"attempt": 0, "worker": 0, "sequence": 1, "phase": "Training"} | said
        body = json.dumps(said).encode() if body is None else body
        headers = {"authorization": f"Bearer {token() if text is None else text}"}
        return await self.desk.answer(Request(method=method, path=path, headers=headers, body=body))


@pytest.fixture
def place():
    return Place()


async def test_a_report_is_taken_in_and_answered_with_when_to_come_again(place):
    answer = await place.send(step=7, totalSteps=40)

    assert 200 == answer.status
    assert {"nextReportSeconds": REPORT_SECONDS, "directives": [], "live": {}} == json.loads(answer.body)
    assert 7 == place.reports.live(("team", "digits"), "uid-1", 0).report.step
    assert [("team", "digits")] == place.heard
    assert ["accepted"] == place.results


async def test_live_settings_are_sent_whole_each_time_and_to_tasks_alone(place):
    place.job_ = job(liveConfig={"lr": 1e-4})
    assert {"lr": 1e-4} == json.loads((await place.send()).body)["live"]
    place.time += 5
    assert {"lr": 1e-4} == json.loads((await place.send(sequence=2)).body)["live"]
    place.time += 5
    place.job_ = job(task=None, script=["train.py"], liveConfig={"lr": 1e-4})
    assert "live" not in json.loads((await place.send(sequence=3)).body)


async def test_directives_are_sent_until_they_are_done(place):
    metadata = msgspec.structs.replace(place.job_.metadata, annotations={ANNOTATION_CHECKPOINT: at(9).isoformat()})
    place.job_ = msgspec.structs.replace(place.job_, metadata=metadata)
    (wish,) = json.loads((await place.send()).body)["directives"]
    place.time += 5

    assert "Checkpoint" == wish["kind"]
    assert [] == json.loads((await place.send(sequence=2, done=[wish["id"]])).body)["directives"]


async def test_many_workers_are_asked_to_report_less_often(place):
    place.reports.num_workers = 4000

    assert 20.0 <= json.loads((await place.send()).body)["nextReportSeconds"]


@pytest.mark.parametrize(
    ("text", "status", "result"),
    [
        ("", 401, "unauthorised"),
        ("nonsense", 401, "unauthorised"),
        (token(audience="uid-2"), 401, "unauthorised"),
        (token(mark="bad"), 401, "forged"),
        (token(expires=NOW - 1), 401, "forged"),
        (token(pod="digits-0-9", uid="pod-0-9"), 403, "unknown"),
        (token(uid="pod-of-before"), 403, "unknown"),
        (token(namespace="other"), 403, "unknown"),
    ],
)
async def test_who_has_no_right_to_report_is_refused_and_counted(place, text, status, result):
    answer = await place.send(text=text)

    assert (status, [result]) == (answer.status, place.results)
    assert [] == place.heard
    assert place.reports.live(("team", "digits"), "uid-1", 0) is None


async def test_what_the_caches_refuse_costs_no_review(place):
    for text in ("nonsense", token(audience="uid-2"), token(uid="pod-of-before"), token(pod="digits-0-9")):
        await place.send(text=text)

    assert [] == place.server.asked


async def test_a_token_of_another_jobs_pod_is_refused_for_this_job(place):
    place.pods["digits-0-0"] = pod(place.job_, 0, owner_uid="uid-9")

    assert (403, ["unknown"]) == ((await place.send()).status, place.results)


async def test_a_pod_of_an_older_attempt_is_stale(place):
    place.job_ = with_status(place.job_, msgspec.structs.replace(place.job_.status, attempt=1))

    assert (403, ["stale"]) == ((await place.send()).status, place.results)


async def test_a_pod_that_is_over_is_stale(place):
    place.pods["digits-0-0"] = pod(place.job_, 0, exit_code=0)

    assert (403, ["stale"]) == ((await place.send()).status, place.results)


async def test_a_finished_job_hears_nothing_more(place):
    conditions = upsert((), "Complete", True, "Done", "", now=at(1), generation=1)
    place.job_ = with_status(place.job_, msgspec.structs.replace(place.job_.status, conditions=conditions))

    assert (403, ["stale"]) == ((await place.send()).status, place.results)


async def test_a_worker_cannot_report_for_another(place):
    assert (403, ["forged"]) == ((await place.send(worker=1)).status, place.results)


async def test_a_report_that_was_heard_before_is_stale(place):
    await place.send(sequence=5, step=7)
    place.time += 5
    for sequence in (5, 4):
        assert 409 == (await place.send(sequence=sequence, step=3)).status

    assert ["accepted", "stale", "stale"] == place.results
    assert 7 == place.reports.live(("team", "digits"), "uid-1", 0).report.step


async def test_a_worker_that_reports_all_the_time_is_held_back(place):
    await place.send(sequence=1)
    place.time += 0.1
    answer = await place.send(sequence=2)

    assert (429, ["accepted", "limited"]) == (answer.status, place.results)
    assert answer.retry_after_seconds > 0


async def test_two_workers_do_not_hold_each_other_back(place):
    await place.send()
    answer = await place.send(worker=1, text=token(pod="digits-0-1", uid="pod-0-1"))

    assert 200 == answer.status


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "truncated"),
        (b"{}", "missing required field"),
        (b'{"attempt":0,"worker":0,"sequence":1,"phase":"Dancing"}', "phase"),
        (b'{"attempt":0,"worker":0,"sequence":1,"phase":"Training","step":-1}', "step"),
        (b'{"attempt":0,"worker":0,"sequence":1,"phase":"Training","loss":"low"}', "loss"),
        (b'{"attempt":0,"worker":0,"sequence":1,"phase":"Training","metrics":{"":1}}', "metrics"),
        (b'{"attempt":0,"worker":0,"sequence":1,"phase":"Training","seconds":{"productive":-1}}', "productive"),
    ],
)
async def test_a_body_that_is_no_report_is_refused_with_what_is_wrong(place, body, says):
    answer = await place.send(body)

    assert (400, ["malformed"]) == (answer.status, place.results)
    assert says in answer.body.decode()


async def test_a_body_that_is_too_long_is_refused_unread(place):
    assert 413 == (await place.send(b" " * (REPORT_BYTES_MAX + 1))).status


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [("/v1/jobs/uid-1/other", "POST", 404), ("/v1/jobs/uid-1/report", "GET", 405), ("/v1/jobs/", "POST", 404)],
)
async def test_other_requests_are_none(place, path, method, status):
    assert status == (await place.send(path=path, method=method)).status


async def test_a_standby_sends_workers_away_for_a_moment(place):
    place.leads = False
    answer = await place.send()

    assert (503, ["standby"]) == (answer.status, place.results)
    assert answer.retry_after_seconds > 0
    assert [] == place.server.asked


async def test_an_api_server_that_is_away_refuses_nobody_for_good(place):
    place.server.down = True
    assert 503 == (await place.send()).status
    place.server.down = False

    assert 200 == (await place.send()).status
    assert ["unavailable", "accepted"] == place.results


async def test_the_body_of_hugging_faces_callback_is_understood(place):
    metrics = [{"name": "current_step", "value": "30"}, {"name": "total_steps", "value": "60"}]
    body = json.dumps({"trainerStatus": {"progressPercentage": 50, "metrics": metrics}}).encode()
    answer = await place.send(body, path="/v1/jobs/uid-1/progress")

    assert (200, b"{}") == (answer.status, answer.body)
    said = place.reports.live(("team", "digits"), "uid-1", 0).report
    assert (30, 60) == (said.step, said.total_steps)
    last = json.dumps({"trainerStatus": {"progressPercentage": 100}}).encode()
    await place.send(last, path="/v1/jobs/uid-1/progress")
    assert 60 == place.reports.live(("team", "digits"), "uid-1", 0).report.step


class Sharded:
    """A desk whose process leads no shard of the job; `leader` is who does."""

    def __init__(self, place, leader):
        self.forwarded = []
        place.desk = Desk(
            place,
            Tokens(place.server, clock=lambda: NOW, monotonic=lambda: place.time),
            place.reports,
            now=lambda: at(place.time),
            monotonic=lambda: place.time,
            leads=lambda: place.leads,
            heard=place.heard.append,
            counted=lambda result, seconds: place.results.append(result),
            elsewhere=lambda key: leader,
            forward=self.forward,
        )

    async def forward(self, address, request):
        self.forwarded.append((address, request.path))
        return Response(body=b'{"nextReportSeconds": 9.0}')


async def test_a_report_for_a_job_of_another_leader_goes_on_to_it_unreviewed(place):
    sharded = Sharded(place, "10.0.0.8:9443")
    answer = await place.send()

    assert b'{"nextReportSeconds": 9.0}' == answer.body
    assert [("10.0.0.8:9443", "/v1/jobs/uid-1/report")] == sharded.forwarded
    assert ([], ["forwarded"]) == (place.heard, place.results)
    assert [] == place.server.asked


async def test_a_stranger_is_not_passed_on(place):
    sharded = Sharded(place, "10.0.0.8:9443")

    assert 403 == (await place.send(text=token(pod="digits-0-9", uid="pod-0-9"))).status
    assert [] == sharded.forwarded


async def test_a_report_that_was_passed_on_goes_no_further(place):
    sharded = Sharded(place, "10.0.0.8:9443")
    body = json.dumps({"attempt": 0, "worker": 0, "sequence": 1, "phase": "Training"}).encode()
    headers = {"authorization": f"Bearer {token()}", FORWARDED: "1"}
    answer = await place.desk.answer(Request(method="POST", path="/v1/jobs/uid-1/report", headers=headers, body=body))

    assert (503, 2) == (answer.status, answer.retry_after_seconds)
    assert ([], ["standby"]) == (sharded.forwarded, place.results)


async def test_a_job_that_nobody_leads_is_asked_for_later(place):
    Sharded(place, None)

    assert 503 == (await place.send()).status
