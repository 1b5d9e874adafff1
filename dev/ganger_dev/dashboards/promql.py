"""Pieces of PromQL that the boards share."""

from __future__ import annotations

from typing import Final

# A job is its namespace and its name; both variables are regular expressions.
OF_NAMESPACE: Final = 'namespace=~"$namespace"'
OF_JOB: Final = f'{OF_NAMESPACE}, training_job=~"$training_job"'
# The target of the scrape, for series of the operator process.
OF_TARGET: Final = 'job=~"$job", instance=~"$instance"'
JOB: Final = "namespace, training_job"
ALIVE: Final = "Pending|Starting|Running|Restarting"


def job(metric: str, by: str = "", matchers: str = "", ago: str = "", **equal: str) -> str:
    """Return one series for each chosen job (and each value of the labels `by`) of a `ganger_job_*` gauge.

    `matchers` and labels that must be `equal` to a value choose further. `max by` makes one of the two series that
    exist for a scrape or two while the lead passes to another operator.
    """
    chosen = [f'{label}="{value}"' for label, value in equal.items()]
    offset = f" offset {ago}" if ago else ""
    return f"max by ({_and(JOB, by)}) ({metric}{{{_and(OF_JOB, matchers, *chosen)}}}{offset})"


def in_phase(phases: str) -> str:
    """Return 1 for each chosen job that is in one of `phases` (a regular expression)."""
    return job("ganger_job_phase", matchers=f'phase=~"{phases}"')


def rank(metric: str, by: str = "rank") -> str:
    """Return one series for each chosen job and rank of a `ganger_train_*` gauge, whatever pods they were in."""
    return f"max by ({_and(JOB, by)}) ({metric}{{{OF_JOB}}})"


def rank_rate(metric: str, by: str = "rank", matchers: str = "") -> str:
    """Return the rate per second of a `ganger_train_*` counter, summed for each chosen job and the labels `by`."""
    return f"sum by ({_and(JOB, by)}) (rate({metric}{{{_and(OF_JOB, matchers)}}}[$__rate_interval]))"


def rate(metric: str, by: str = "", matchers: str = "") -> str:
    """Return the rate per second of a counter of the operator process, summed over the chosen targets."""
    return f"sum {_by(by)}(rate({metric}{{{_and(OF_TARGET, matchers)}}}[$__rate_interval]))"


def quantile(q: float, metric: str, by: str = "") -> str:
    """Return a quantile of a histogram of the operator process over the chosen targets; `metric` has no `_bucket`."""
    return f"histogram_quantile({q}, {rate(f'{metric}_bucket', by=_and(by, 'le'))})"


def gained(series: str, window: str) -> str:
    """Return by how much each counter that the selector `series` finds grew in `window`, births included.

    `increase` compares samples, so it does not see the first event of a counter that is born with the value 1; such a
    counter has no sample a window ago, and all of its value is new.
    """
    return f"(({series} unless {series} offset {window}) or increase({series}[{window}]))"


def _and(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _by(labels: str) -> str:
    return f"by ({labels}) " if labels else ""
