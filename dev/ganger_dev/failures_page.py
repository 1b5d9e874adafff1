"""docs/failures.md, made of the table of failure classes."""

from __future__ import annotations

from collections.abc import Iterable

from ganger.plan.remedy import CLASSES, FailureClass

_HEAD = """<!-- Generated from operator/ganger/plan/remedy.py by `make generate`; edit the table there. -->
# Failures and what to do

`status.restarts.last` names the first failure of an attempt: class (`reason`), rank, pod, node, exit code and message.
Workers that died because another one had died are not blamed. Events and `ganger status` tell the remedy.
The message also names devices of the worker that the kubelet calls Unhealthy, and `nodeConditions` the troubles that
its node had right after: both are reasons to avoid the node.

Rules under `spec.failurePolicy.rules` match exit codes and these classes; the first rule that matches wins. A program
may name a class of its own in `/dev/termination-log`, as `{"outcome": "Failed", "reason": "BadShard", "message": "."}`,
and rules match that too.
"""
_TABLE = ("| class | what happened | what to do |", "|---|---|---|")


def _section(title: str, text: str, classes: Iterable[tuple[str, FailureClass]]) -> list[str]:
    rows = [f"| `{name}` | {each.cause} | {each.remedy} |" for name, each in classes]
    return [f"\n## {title}\n", f"{text}\n", *_TABLE, *rows]


def markdown() -> str:
    """Return the page."""
    disruptions = [(name, each) for name, each in CLASSES.items() if each.disruption]
    others = [(name, each) for name, each in CLASSES.items() if not each.disruption]
    lines = _section(
        "Failures", "They spend a restart, unless a rule says otherwise or the user has to change something.", others
    )
    lines += _section("Disruptions", "Done to the gang from outside: never counted.", disruptions)
    return _HEAD + "\n".join(lines) + "\n"
