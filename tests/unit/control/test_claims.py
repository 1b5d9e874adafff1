import base64
import json

import pytest

from ganger.control import claims
from unit.control.pretend import NOW, token


def test_the_claims_of_a_pods_token_are_read():
    said = claims.read(token())

    assert (
        claims.Claims(
            namespace="team", pod_name="digits-0-0", pod_uid="pod-0-0", audiences=("uid-1",), expires=NOW + 3600
        )
        == said
    )


def test_one_audience_may_be_written_without_a_list():
    payload = {"aud": "uid-1", "exp": 1, "kubernetes.io": {"namespace": "n", "pod": {"name": "p", "uid": "u"}}}
    text = base64.urlsafe_b64encode(json.dumps(payload).encode()).decode()

    assert ("uid-1",) == claims.read(f"h.{text}.s").audiences


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a.b",
        "a.b.c.d",
        "h.%%%.s",
        "h.bm90IGpzb24.s",  # not json
        "h.e30.s",  # no pod: a token of a user or of a bare service account
        token(pod=""),
        token(uid=""),
        token() + "x" * claims.TOKEN_BYTES_MAX,
        "h.\udcff.s",
    ],
)
def test_what_is_no_pods_token_claims_nothing(text):
    assert claims.read(text) is None
