"""The figures that Ganger promises, by name: what each is, its goal, and what the benches that ran say of it.

A bench may return `keys`, as {"control_plane": {"cold_start_seconds": 0.9}}, and `reasons`, as
{"control_plane.cold_start_seconds": "why there is no figure"}. Nothing here measures; it only puts together.
"""

import math
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

NOT_YET = "not measured yet"


class Key(Struct, frozen=True, kw_only=True):
    """One figure.

    says: what is measured, its unit included. at_least, at_most: the goal; neither where the figure is only told.
    """

    says: str
    at_least: float | None = None
    at_most: float | None = None

    @property
    def goal(self) -> str:
        """The goal in words."""
        bounds = (("at least", self.at_least), ("at most", self.at_most))
        return " and ".join(f"{word} {bound:g}" for word, bound in bounds if bound is not None) or "none"

    def holds(self, value: float) -> bool:
        """Whether `value` is on the right side of the goal."""
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)


KEYS: dict[str, dict[str, Key]] = {
    "control_plane": {
        "create_speedup_vs_trainer": Key(
            says="200 jobs x 8 pods, to all pods created: seconds of Kubeflow Trainer at raised limits / ours",
            at_least=5,
        ),
        "share_of_floor": Key(
            says="200 jobs x 8 pods, to all pods Running: seconds of the same pods without any controller / ours",
            at_least=0.8,
        ),
        "added_requests_ratio_vs_trainer": Key(
            says="requests of all controllers for each job of 8 pods until it runs, Trainer's / ours",
            at_least=4,
        ),
        "cpu_per_pod_ratio_vs_floor": Key(
            says="CPU of the whole control plane for each pod, ours / bare pods'", at_most=1.3
        ),
        "failure_to_replacement_p50_seconds": Key(
            says="a pod's status says Failed until its replacement exists, seconds, median", at_most=0.25
        ),
        "handover_sigterm_seconds": Key(
            says="the leader is told to stop and a job submitted: seconds to its first pod, median", at_most=0.5
        ),
        "handover_sigkill_seconds": Key(says="the same, the leader killed", at_most=5),
        "cold_start_seconds": Key(
            says="start of the operator with 1,000 jobs of 10 pods present until its first correct decision, seconds",
            at_most=1,
        ),
        "writes_per_job": Key(
            says="writes of the operator for each job of 8 pods until it runs, events apart", at_most=11
        ),
        "writes_ratio_vs_trainer": Key(
            says="writes of all controllers for each job of 8 pods until it runs, events apart, Trainer's / ours",
            at_least=4,
        ),
        "idle_writes_per_minute": Key(
            says="writes of the operator per minute while all jobs train, its lease apart", at_most=0
        ),
        "rss_mib_at_10000_pods": Key(says="memory of the operator with 1,000 jobs of 10 pods, MiB", at_most=80),
        "cpu_seconds_ratio_vs_trainer": Key(
            says="CPU of the controllers, 200 jobs x 8 pods to Running: Trainer's with those that it needs / ours"
        ),
        "scaling_exponent": Key(says="exponent with which the seconds grow with the number of jobs", at_most=1.1),
        "reconcile_p99_seconds": Key(
            says="a job of 4 pods is submitted while 200 x 8 are made: seconds to its first pod, 99th percentile"
        ),
    },
    "trainer": {
        "overhead_percent": Key(says="a step of our loop against the bare loop's, per cent more", at_most=1),
        "metrics_overhead_percent": Key(says="the loop with metrics and scrapes against it without, per cent more"),
        "tokens_per_second_ratio_vs_bare": Key(
            says="tokens per second of a GPT (124M on a GPU, a small one on a CPU), ours / the bare loop's",
            at_least=0.99,
        ),
    },
    "checkpoint": {
        "stall_ms_at_700_mb": Key(says="training stands still for a checkpoint of 0.7 GB, milliseconds", at_most=20),
        "stall_ratio_vs_torch_save": Key(says="stall of torch.save / ours", at_least=13),
        "stall_ratio_vs_dcp_async": Key(says="stall of torch.distributed.checkpoint, async / ours", at_least=3),
        "durable_ratio_vs_raw_write": Key(
            says="seconds until it is safe on the disk, ours / a raw write's", at_most=1.3
        ),
        "save_mb_per_second": Key(says="MB per second of a save, until it is safe"),
        "restore_ratio_vs_dcp": Key(says="seconds to load it, torch.distributed.checkpoint's / ours"),
    },
    "recovery": {
        "worker_p50_seconds": Key(says="a worker is killed until the next training step, seconds, median", at_most=3.5),
        "in_place_p50_seconds": Key(says="the same, processes anew in their pods", at_most=1.5),
        "pod_p50_seconds": Key(says="the same, new pods", at_most=3.5),
        "node_p50_seconds": Key(says="a node is lost until the next training step, seconds, median"),
        "controller_p50_ms": Key(says="the operator's share, failed pod to replacement, milliseconds, median"),
        "controller_p99_ms": Key(says="the same, 99th percentile"),
    },
    "startup": {
        "apply_to_first_step_seconds": Key(says="a job is applied until its first training step, seconds, median"),
        "controller_share_percent": Key(says="the operator's share of it, per cent"),
    },
    "soak": {
        "jobs": Key(says="jobs of the soak, with kills of API server, etcd and operator"),
        "wrong_ends": Key(says="jobs that did not come to their right end", at_most=0),
        "leaked_objects": Key(says="objects that were left behind", at_most=0),
        "rss_growth_percent": Key(says="growth of the operator's memory, per cent", at_most=5),
    },
}


def check(result: Mapping[str, Any]) -> None:
    """Raise ValueError where a bench's `keys` or `reasons` name a figure that is none, or hold no number."""
    for group, figures in result.get("keys", {}).items():
        for name, value in figures.items():
            _known(f"{group}.{name}")
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
                raise ValueError(f"keys: {group}.{name} is {value!r}; give a number, or None with a reason")
            if value is not None and not math.isfinite(value):
                raise ValueError(f"keys: {group}.{name} is {value}; a figure that is no number is None with a reason")
            if value is None and not result.get("reasons", {}).get(f"{group}.{name}"):
                raise ValueError(f"keys: {group}.{name} is None without a reason; say why under reasons")
    for path in result.get("reasons", {}):
        _known(path)


def assemble(details: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the objects of figures from the results of all benches, with `reasons` and `sources` beside them.

    Every key is there: null has its reason, a number its source (bench, command, commit, date). Of two benches that
    give one figure the later holds; a null never hides a number.
    """
    figures: dict[str, dict[str, float | None]] = {group: dict.fromkeys(keys) for group, keys in KEYS.items()}
    reasons = {f"{group}.{name}": NOT_YET for group, keys in KEYS.items() for name in keys}
    sources: dict[str, dict[str, Any]] = {}
    for bench, result in sorted(details.items(), key=lambda item: str(item[1].get("date", ""))):
        for path, why in result.get("reasons", {}).items():
            if path in reasons:
                reasons[path] = why
        for group, given in result.get("keys", {}).items():
            for name, value in given.items():
                if value is not None:
                    path = f"{group}.{name}"
                    figures[group][name] = value
                    reasons.pop(path, None)
                    told = {key: result[key] for key in ("command", "commit", "date") if key in result}
                    sources[path] = {"bench": bench} | told
    return figures | {"reasons": reasons, "sources": sources}


def _known(path: str) -> None:
    group, _, name = path.partition(".")
    if name not in KEYS.get(group, {}):
        known = ", ".join(f"{group}.{name}" for group, keys in KEYS.items() for name in keys)
        raise ValueError(f"keys: there is no figure {path}; there are {known}")
