"""What the resources of a worker may be: rows of the table in `rules`.

The API server's rules for the resources of a pod are told at the job: one whose pods are refused has failed.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from ganger.api import quantity
from ganger.api.pattern import matches
from ganger.api.rule import Rule
from ganger.api.types import TrainingJobSpec
from ganger.api.workload import Resources

RESOURCE_NAME = (
    r"^(cpu|memory|ephemeral-storage|hugepages-[1-9][0-9]{0,5}[KMG]i|[a-z0-9][-a-z0-9.]*/[A-Za-z0-9][-A-Za-z0-9_.]*)$"
)
_HUGE = "hugepages-"


def _keys_match(field: str, pattern: str) -> Callable[[Any], bool]:
    return lambda value: all(matches(pattern, key) for key in getattr(value, field))


def _requests_within_limits(resources: Resources) -> bool:
    return all(
        name not in resources.limits or quantity.parse(amount) <= quantity.parse(resources.limits[name])
        for name, amount in resources.requests.items()
    )


def _devices_reserved_as_limited(resources: Resources) -> bool:
    return all(
        name in resources.limits and str(amount) == str(resources.limits[name])
        for name, amount in resources.requests.items()
        if "/" in name or name.startswith(_HUGE)
    )


def _has_company(resources: Resources) -> bool:
    names = resources.requests.keys() | resources.limits.keys()
    return not any(name.startswith(_HUGE) for name in names) or bool(names & {"cpu", "memory"})


def _devices_whole(resources: Resources) -> bool:
    return all(str(amount).isdecimal() for name, amount in resources.limits.items() if "/" in name)


def _slices(resources: Resources) -> Fraction:
    return sum((quantity.parse(amount) for name, amount in resources.limits.items() if "/mig-" in name), Fraction(0))


RULES: tuple[Rule, ...] = (
    Rule(
        on=TrainingJobSpec,
        path=".resources.limits",
        cel="has(self.command) || !has(self.resources) || !has(self.resources.limits) || "
        "self.resources.limits.map(name, name.contains('/mig-') ? "
        "quantity(string(self.resources.limits[name])).asInteger() : 0).sum() <= 1",
        holds=lambda spec: spec.command is not None or _slices(spec.resources) <= 1,
        message="limits may hold one MIG slice in a job with task or script: a CUDA process sees no second one",
        remedy="use more workers with one slice each",
    ),
    *(
        Rule(
            on=Resources,
            path=f".{field}",
            cel=f"!has(self.{field}) || self.{field}.all(name, name.matches(r'{RESOURCE_NAME}'))",
            holds=_keys_match(field, RESOURCE_NAME),
            message=f"every key of {field} must be cpu, memory, ephemeral-storage, hugepages-* or a device with its "
            "domain, such as nvidia.com/gpu",
        )
        for field in ("requests", "limits")
    ),
    Rule(
        on=Resources,
        path=".requests",
        cel="!has(self.requests) || !has(self.limits) || self.requests.all(name, !(name in self.limits) || "
        "quantity(string(self.requests[name])).compareTo(quantity(string(self.limits[name]))) <= 0)",
        holds=_requests_within_limits,
        message="requests must be at most limits, for each resource",
    ),
    Rule(
        on=Resources,
        path=".limits",
        cel="!has(self.limits) || self.limits.all(name, !name.contains('/') || "
        "string(self.limits[name]).matches(r'^[0-9]+$'))",
        holds=_devices_whole,
        message="devices such as nvidia.com/gpu must be whole numbers in limits",
    ),
    Rule(
        on=Resources,
        path=".requests",
        cel="!has(self.requests) || self.requests.all(name, !(name.contains('/') || name.startsWith('hugepages-')) || "
        "(has(self.limits) && name in self.limits && string(self.requests[name]) == string(self.limits[name])))",
        holds=_devices_reserved_as_limited,
        message="devices such as nvidia.com/gpu, and huge pages, must have the same number in requests as in limits",
        remedy="leave them out of requests",
    ),
    Rule(
        on=Resources,
        path=".limits",
        cel="!(has(self.limits) && self.limits.exists(name, name.startsWith('hugepages-'))) || "
        "self.limits.exists(name, name in ['cpu', 'memory']) || "
        "(has(self.requests) && self.requests.exists(name, name in ['cpu', 'memory']))",
        holds=_has_company,
        message="huge pages in limits need cpu or memory beside them",
    ),
)
