"""Which session is heard, which is not, and what it is told."""

import json

import msgspec
import pytest

from builders import at
from ganger.api.conditions import upsert
from ganger.contract import REPORT_BYTES_MAX
from ganger.control.peers import FORWARDED
from ganger.control.sessiondesk import SessionDesk
from ganger.control.tokens import Tokens
from ganger.observe.server import Request, Response
from sessions import pod, session
from unit.control.pretend import NOW, Reviewer, token

KEY, POD, UID = ("team", "notes"), "notes-dev-0", "uid-notes-dev-0"
PATH = "/v1/sessions/uid-s/report"


class Place:
    """A desk, what it knows, and what came of it."""

    def __init__(self):
        self.session_ = session()
        self.pod_ = pod(self.session_)
        self.server, self.leads, self.time = Reviewer(), True, 100.0
        self.results, self.heard, self.forwarded = [], [], []
        self.elsewhere = ""
        self.desk = SessionDesk(
            self,
            Tokens(self.server, clock=lambda: NOW, monotonic=lambda: self.time),
            monotonic=lambda: self.time,
            leads=lambda: self.leads,
            heard=self.heard.append,
            counted=lambda result, seconds: self.results.append(result),
            elsewhere=lambda: self.elsewhere,
            forward=self.forward,
        )

    def pod(self, namespace, name):
        return self.pod_ if (namespace, name) == ("team", self.pod_.metadata.name) else None

    def session(self, namespace, name):
        return self.session_ if (namespace, name) == self.session_.key else None

    async def forward(self, address, request):
        self.forwarded.append((address, request.path))
        return Response(body=b"{}")

    async def send(self, body=None, *, path=PATH, text=None, method="POST", more=None, **said):
        said = {"lastActivityTime": at(30).isoformat(), "idleSeconds": 3600} | said
        body = json.dumps(said).encode() if body is None else body
        text = token(audience="uid-s", pod=POD, uid=UID) if text is None else text
        headers = {"authorization": f"Bearer {text}"} | (more or {})
        return await self.desk.answer(Request(method=method, path=path, headers=headers, body=body))


@pytest.fixture
def place():
    return Place()


def heard(place, uid=UID):
    return place.desk.report(KEY, uid)


async def test_a_report_is_taken_in_and_answered_with_when_to_come_again(place):
    answer = await place.send()

    assert (200, {"nextReportSeconds": 30.0}) == (answer.status, json.loads(answer.body))
    assert (at(30), 3600) == (heard(place).last_activity_time, heard(place).idle_seconds)
    assert ([KEY], ["accepted"]) == (place.heard, place.results)
    assert None is heard(place, "uid-of-the-next")


async def test_a_session_that_ends_soon_reports_more_often_and_many_less_often(place):
    assert 15.0 == json.loads((await place.send(idleSeconds=60)).body)["nextReportSeconds"]
    place.desk._heard |= {("team", f"s{number}"): None for number in range(5000)}
    place.time += 30

    assert 100.0 < json.loads((await place.send()).body)["nextReportSeconds"] < 101.0


@pytest.mark.parametrize(
    ("said", "status", "result"),
    [
        ({"audience": "uid-2"}, 401, "unauthorised"),
        ({"mark": "bad"}, 401, "forged"),
        ({"expires": NOW - 1}, 401, "forged"),
        ({"pod": "notes-dev-9"}, 403, "unknown"),
        ({"uid": "pod-of-before"}, 403, "unknown"),
        ({"namespace": "other"}, 403, "unknown"),
    ],
)
async def test_who_has_no_right_to_report_is_refused_and_counted(place, said, status, result):
    answer = await place.send(text=token(**{"audience": "uid-s", "pod": POD, "uid": UID} | said))

    assert (status, [result]) == (answer.status, place.results)
    assert ([], None) == (place.heard, heard(place))


async def test_a_pod_of_another_owner_is_unknown_at_no_review(place):
    place.pod_ = pod(session(uid="uid-9"))

    assert (403, ["unknown"]) == ((await place.send()).status, place.results)
    assert [] == place.server.asked


async def test_a_pod_of_an_earlier_start_one_that_is_over_and_a_session_that_has_ended_are_stale(place):
    place.pod_ = pod(place.session_, phase="Succeeded", exit_code=0)
    assert 403 == (await place.send()).status
    place.pod_ = pod(place.session_, start=0)
    place.session_ = session(status={"start": 1})
    assert 403 == (await place.send()).status
    ended = upsert((), "Ended", True, "Idle", "", now=at(1), generation=1)
    place.session_ = msgspec.structs.replace(
        session(), status=msgspec.structs.replace(session().status, conditions=ended)
    )
    assert 403 == (await place.send()).status

    assert (["stale"] * 3, []) == (place.results, place.server.asked)


async def test_one_that_reports_all_the_time_is_held_back_and_its_next_pod_is_not(place):
    await place.send()
    place.time += 0.1
    answer = await place.send()

    assert (429, ["accepted", "limited"]) == (answer.status, place.results)
    assert answer.retry_after_seconds > 0
    place.pod_ = msgspec.structs.replace(
        place.pod_, metadata=msgspec.structs.replace(place.pod_.metadata, uid="uid-next")
    )
    assert 200 == (await place.send(text=token(audience="uid-s", pod=POD, uid="uid-next"))).status


async def test_a_body_that_is_no_report_is_refused_with_what_is_wrong(place):
    answer = await place.send(b'{"lastActivityTime": "soon"}')

    assert (400, ["malformed"]) == (answer.status, place.results)
    assert "lastActivityTime" in answer.body.decode()
    assert 413 == (await place.send(b" " * (REPORT_BYTES_MAX + 1))).status


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [("/v1/sessions/uid-s/progress", "POST", 404), (PATH, "GET", 405), ("/v1/sessions/", "POST", 404)],
)
async def test_other_requests_are_none(place, path, method, status):
    assert status == (await place.send(path=path, method=method)).status


async def test_a_standby_sends_sessions_away_for_a_moment(place):
    place.leads = False

    assert (503, ["standby"]) == ((await place.send()).status, place.results)


async def test_a_session_that_is_gone_is_forgotten_and_a_new_leader_begins_anew(place):
    await place.send()
    place.desk.forget(KEY)
    assert None is heard(place)
    place.time += 30
    await place.send()
    place.desk.clear()
    assert None is heard(place)


async def test_what_another_process_leads_is_handed_to_it_as_it_came(place):
    place.elsewhere = "10.0.0.8:9443"

    reply = await place.send()

    assert (200, [("10.0.0.8:9443", PATH)]) == (reply.status, place.forwarded)
    assert ([], ["forwarded"]) == (place.heard, place.results)


@pytest.mark.parametrize(("elsewhere", "more"), [(None, {}), ("10.0.0.8:9443", {FORWARDED: "1"})])
async def test_where_nobody_else_is_known_or_it_was_handed_on_already_it_is_told_to_come_again(place, elsewhere, more):
    place.elsewhere = elsewhere

    reply = await place.send(more=more)

    assert (503, 2, ["standby"]) == (reply.status, reply.retry_after_seconds, place.results)
    assert [] == place.forwarded
