"""Requests, counted where they arrive: in the audit log of the API server."""

import json
from collections import Counter
from pathlib import Path

WRITES = ("create", "update", "patch", "delete", "deletecollection")


def position(log: Path) -> int:
    """Bytes written so far: what comes later is counted from here."""
    return log.stat().st_size


def requests(log: Path, since: int, until: int | None = None) -> Counter:
    """Number of finished requests by (user, verb, resource/subresource, code)."""
    found: Counter = Counter()
    with log.open("rb") as file:
        file.seek(since)
        body = file.read() if until is None else file.read(until - since)
    for line in body.splitlines():
        event = json.loads(line)
        ref = event.get("objectRef", {})
        resource = ref.get("resource", event["requestURI"].partition("?")[0])
        if ref.get("subresource"):
            resource += f"/{ref['subresource']}"
        found[event["user"]["username"], event["verb"], resource, event["responseStatus"].get("code", 0)] += 1
    return found


def writes(found: Counter, user: str, *, without: tuple[str, ...] = ("leases", "events")) -> dict[str, int]:
    """Writes of one user by `verb resource`; leases and events are told apart by who asks."""
    total: Counter = Counter()
    for (who, verb, resource, _), count in found.items():
        if who == user and verb in WRITES and resource not in without:
            total[f"{verb} {resource}"] += count
    return dict(sorted(total.items()))


def conflicts(found: Counter, user: str) -> int:
    """Answers 409 to that user."""
    return sum(count for (who, _, _, code), count in found.items() if who == user and code == 409)
