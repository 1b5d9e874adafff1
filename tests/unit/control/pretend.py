"""Tokens in the kubelet's layout with a signature that only `Reviewer` knows, and an API server that reviews them.

The real TokenReview is asked in tests/integration/operator/test_control_channel.py.
"""

import base64
import json

from ganger.kube.errors import Unreachable
from ganger.kube.resources import TOKEN_REVIEWS

NOW = 1_800_000_000.0


def token(*, audience="uid-1", namespace="team", pod="digits-0-0", uid="pod-0-0", expires=NOW + 3600, mark="good"):
    claims = {
        "aud": [audience],
        "exp": expires,
        "kubernetes.io": {"namespace": namespace, "pod": {"name": pod, "uid": uid}},
    }
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"header.{payload}.{mark}"


class Reviewer:
    """Answers TokenReviews: a token whose signature reads `good` is what it claims."""

    def __init__(self):
        self.asked = []
        self.down = False
        self.answer = {}

    async def review(self, resource, spec):
        assert resource == TOKEN_REVIEWS, resource
        self.asked.append(spec)
        if self.down:
            raise Unreachable("nobody answers")
        payload = spec["token"].split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["kubernetes.io"]
        status = {
            "authenticated": spec["token"].endswith(".good"),
            "audiences": spec.get("audiences", []),
            "user": {
                "username": f"system:serviceaccount:{claims['namespace']}:default",
                "extra": {
                    "authentication.kubernetes.io/pod-name": [claims["pod"]["name"]],
                    "authentication.kubernetes.io/pod-uid": [claims["pod"]["uid"]],
                },
            },
        }
        return json.dumps({"status": status | self.answer}).encode()
