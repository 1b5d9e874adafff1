"""Who may speak at a desk: what a request must be, whose pod its token names, and that the API server confirms it.

The order of the checks is that of their price: what the caches know first, then the token's signature, then the body.
Whatever is refused is told in a word or two; a stranger learns nothing of what exists.
"""

import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from ganger.contract import REPORT_BYTES_MAX
from ganger.control import claims
from ganger.control.claims import Claims
from ganger.control.peers import FORWARDED
from ganger.control.tokens import Tokens, Unavailable
from ganger.observe.server import Request, Response

RETRY_SECONDS = 2


class Refused(Exception):  # noqa: N818 - what the client is told
    """Why somebody is not heard. result: one word, as it is counted; text: what is told, that word if empty."""

    def __init__(self, status: HTTPStatus, result: str, text: str = "") -> None:
        super().__init__(text)
        self.status = status
        self.result = result
        self.text = text

    def response(self) -> Response:
        """Return the answer."""
        later = self.status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS)
        return Response(
            status=self.status,
            body=f"{self.text or self.result}\n".encode(),
            retry_after_seconds=RETRY_SECONDS if later else None,
        )


class Elsewhere(Exception):  # noqa: N818 - where to take it
    """Another process, at host:port, hears whoever speaks."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.address = address


async def answered(
    request: Request,
    take: Callable[[Request], Awaitable[bytes]],
    forward: Callable[[str, Request], Awaitable[Response]] | None,
    counted: Callable[[str, float], None],
) -> Response:
    """Return the answer of a desk: JSON of `take`, its refusal, or what the process that it is for answers.

    forward: hands a request to the process at host:port; None where a desk raises no Elsewhere. counted: the result in
    a word, and the seconds it took.
    """
    began = time.perf_counter()
    try:
        response, result = Response(body=await take(request), content_type="application/json"), "accepted"
    except Elsewhere as found:
        assert forward is not None, "who knows other leaders can reach them"
        response, result = await forward(found.address, request), "forwarded"
    except Refused as refused:
        response, result = refused.response(), refused.result
    counted(result, time.perf_counter() - began)
    return response


def here(request: Request, elsewhere: str | None) -> None:
    """Return where this process is the one that hears whoever speaks. Raises Elsewhere, or Refused.

    elsewhere: host:port of the process that is, "" for this one, None where none is known. What was forwarded once goes
    no further: two processes that disagree would send it to and fro.
    """
    if elsewhere and FORWARDED not in request.headers:
        raise Elsewhere(elsewhere)
    if elsewhere != "":
        raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "standby")


def admit(request: Request, leads: Callable[[], bool]) -> None:
    """Take a POST of bounded size, and only where this process leads. Raises Refused."""
    if request.method != "POST":
        raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, "malformed")
    if not leads():
        raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "standby")
    if len(request.body) > REPORT_BYTES_MAX:
        raise Refused(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "malformed", f"a report has at most {REPORT_BYTES_MAX} bytes"
        )


def said(request: Request, audience: str) -> tuple[str, Claims]:
    """Return the token of the request and what it claims, unproven. Raises Refused where it is not for `audience`."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    found = claims.read(token.strip()) if scheme.lower() == "bearer" else None
    if found is None or audience not in found.audiences:
        raise Refused(HTTPStatus.UNAUTHORIZED, "unauthorised")
    return token.strip(), found


async def confirm(tokens: Tokens, token: str, found: Claims, audience: str) -> None:
    """Return where the token is what it claims. Raises Refused."""
    try:
        confirmed = await tokens.confirm(token, found, audience)
    except Unavailable as error:
        raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", str(error)) from error
    if not confirmed:
        raise Refused(HTTPStatus.UNAUTHORIZED, "forged")
