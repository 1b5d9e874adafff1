import asyncio

import pytest

from ganger.control import claims, tokens
from unit.control.pretend import NOW, Reviewer, token


class Desk:
    def __init__(self):
        self.server, self.now, self.results = Reviewer(), 0.0, []
        self.tokens = tokens.Tokens(
            self.server, clock=lambda: NOW + self.now, monotonic=lambda: self.now, reviewed=self.results.append
        )

    async def confirm(self, text, audience="uid-1"):
        return await self.tokens.confirm(text, claims.read(text), audience)


@pytest.fixture
def desk():
    return Desk()


async def test_a_good_token_is_reviewed_once_until_it_expires(desk):
    text = token()

    assert [True] * 3 == [await desk.confirm(text) for _ in range(3)]
    assert [{"token": text, "audiences": ["uid-1"]}] == desk.server.asked

    desk.now = 3601.0
    assert not await desk.confirm(text)
    assert 1 == len(desk.server.asked), "an expired token needs no review"


async def test_a_bad_signature_is_refused_for_a_minute_at_the_price_of_one_review(desk):
    text = token(mark="bad")

    assert [False] * 3 == [await desk.confirm(text) for _ in range(3)]
    assert 1 == len(desk.server.asked)

    desk.now = tokens.REFUSED_SECONDS + 1
    assert not await desk.confirm(text)
    assert 2 == len(desk.server.asked)
    assert ["refused", "refused"] == desk.results


async def test_a_token_for_another_audience_costs_no_review(desk):
    assert not await desk.confirm(token(audience="uid-2"))
    assert [] == desk.server.asked


async def test_an_audience_that_the_server_did_not_confirm_is_none(desk):
    desk.server.answer = {"audiences": ["https://kubernetes.default.svc"]}

    assert not await desk.confirm(token())


@pytest.mark.parametrize(
    "user",
    [
        {"username": "system:serviceaccount:other:default"},
        {"username": "system:serviceaccount:team:default", "extra": {}},
    ],
)
async def test_a_server_that_names_somebody_else_is_believed(desk, user):
    desk.server.answer = {"user": user}

    assert not await desk.confirm(token())


async def test_many_at_once_ask_once(desk):
    assert [True] * 10 == await asyncio.gather(*(desk.confirm(token()) for _ in range(10)))
    assert 1 == len(desk.server.asked)


async def test_a_server_that_is_away_is_no_verdict(desk):
    desk.server.down = True
    with pytest.raises(tokens.Unavailable):
        await desk.confirm(token())
    desk.server.down = False

    assert await desk.confirm(token())


async def test_forgers_cannot_make_more_reviews_than_the_ration(desk):
    outcomes = []
    for number in range(int(tokens.REVIEWS_BURST) + 20):
        try:
            outcomes.append(await desk.confirm(token(mark=f"bad{number}")))
        except tokens.Unavailable:
            outcomes.append(None)

    assert 20 == outcomes.count(None)
    assert tokens.REVIEWS_BURST == len(desk.server.asked)
    desk.now += 1.0
    assert await desk.confirm(token()), "the ration grows again"


async def test_memory_is_bounded(desk, monkeypatch):
    monkeypatch.setattr(tokens, "REMEMBERED_MAX", 10)
    for number in range(50):
        await desk.confirm(token(mark=f"bad{number}"))

    assert 10 == len(desk.tokens._known)
