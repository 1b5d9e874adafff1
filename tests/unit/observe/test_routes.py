"""Which route answers, whom it lets in, and when it asks to come again."""

import pytest

from ganger.observe.server import Response, guarded
from unit.observe.serving import ask, echo, send, serving, status


def named(name):
    async def answer(request):
        return Response(body=f"{name} {request.path}".encode())

    return answer


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1/jobs/u-1/report", b"jobs /v1/jobs/u-1/report"),
        ("/v1/jobs/", b"jobs /v1/jobs/"),
        ("/v1/jobs/../../etc/passwd", b"jobs /v1/jobs/../../etc/passwd"),
        ("/v1/jobs/special", b"exact /v1/jobs/special"),
        ("/v1/jobs/special/more", b"jobs /v1/jobs/special/more"),
        ("/v1/jobs/deep/er/still", b"deep /v1/jobs/deep/er/still"),
        ("/v1/jobs/deep/er", b"jobs /v1/jobs/deep/er"),
        ("/v1/jobs", b""),
        ("/v1/jobsmore", b""),
        ("/V1/jobs/u-1/report", b""),
        ("v1/jobs/u-1/report", b""),
        ("/other/v1/jobs/u-1/report", b""),
    ],
)
async def test_a_path_goes_to_its_exact_route_then_to_the_longest_above_it(path, expected):
    routes = {
        "/v1/jobs/": named("jobs"),
        "/v1/jobs/deep/er/": named("deep"),
        "/v1/jobs/special": named("exact"),
    }
    async with serving(**routes) as port:
        answer = await send(port, ask(path))

        assert (200 if expected else 404, expected) == (status(answer), answer.partition(b"\r\n\r\n")[2])


async def test_the_body_limit_holds_below_a_prefix_too():
    async with serving(**{"/v1/": echo}) as port:
        assert 413 == status(await send(port, ask("/v1/x", "POST", "Content-Length: 2049")))


@pytest.mark.parametrize(("seconds", "expected"), [(0, [b"Retry-After: 0"]), (17, [b"Retry-After: 17"]), (None, [])])
async def test_a_busy_route_says_when_to_come_again(seconds, expected):
    async def busy(_):
        return Response(status=429, retry_after_seconds=seconds)

    async with serving(**{"/busy": busy}) as port:
        head = (await send(port, ask("/busy"))).partition(b"\r\n\r\n")[0]

        assert expected == [line for line in head.split(b"\r\n") if line.startswith(b"Retry-After")]
        assert head.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")


VERDICTS = {"reader": True, "stranger": False}


@pytest.mark.parametrize(
    ("expected", "headers"),
    [
        (200, ["Authorization: Bearer reader"]),
        (200, ["authorization: bearer  reader "]),
        (403, ["Authorization: Bearer stranger"]),
        (401, ["Authorization: Bearer nobody"]),
        (401, ["Authorization: Bearer "]),
        (401, ["Authorization: Bearer"]),
        (401, ["Authorization: reader"]),
        (401, ["Authorization: Basic reader"]),
        (401, ["Authorization: Bearerreader"]),
        (401, []),
    ],
)
async def test_a_guarded_route_answers_whom_it_may(expected, headers):
    asked = []

    async def allows(token):
        asked.append(token)
        return VERDICTS.get(token)

    async with serving(**{"/metrics": guarded(named("figures"), allows)}) as port:
        head, _, body = (await send(port, ask("/metrics", "GET", *headers))).partition(b"\r\n\r\n")

        assert (expected, expected == 401) == (status(head), b"WWW-Authenticate: Bearer" in head)
        assert (b"figures /metrics" if expected == 200 else b"") == body
        assert "" not in asked


async def test_nobody_is_let_in_while_nobody_can_be_asked(caplog):
    async def allows(_):
        raise TimeoutError("the API server does not answer")

    async with serving(**{"/metrics": guarded(named("figures"), allows)}) as port:
        head, _, body = (await send(port, ask("/metrics", "GET", "Authorization: Bearer t0k3n"))).partition(b"\r\n\r\n")

        assert (503, b"") == (status(head), body)
        assert b"Retry-After: 5" in head
        assert ["cannot tell who may read /metrics: the API server does not answer"] == [
            record.getMessage() for record in caplog.records
        ]
        assert "t0k3n" not in caplog.text
