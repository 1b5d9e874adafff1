"""The judge of a run: takes every fact in the order of the writes, and says which rules were broken when. Pure.

- `quota`: the quota that all Workloads of a cluster queue hold, and what the pods of its gangs take from nodes, each by
  itself, never exceed what the queue has.
- `unadmitted`: no gang has more workers on nodes than it holds quota for: none begins before it was admitted, and none
  gives its quota back before its last worker has ended.
- `partial`: no gang is in part (`partial.py`) for longer than it may.
- `unfinished`: every gang is Complete at the end, with as many workers of one attempt seen to end well as it has.
- `stranger`: every fact is of a gang of the run. `untested`: a gang was preempted, where that is expected.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from ganger_dev.gangs.expected import Expected, Violation
from ganger_dev.gangs.facts import Fact, JobFact, PodFact, WorkloadFact
from ganger_dev.gangs.holdings import Holdings
from ganger_dev.gangs.partial import Attempt, Span

COMPLETE = "Complete"


def in_order(facts: Iterable[Fact]) -> list[Fact]:
    """Return the facts of several watches in the order in which the API server wrote what they tell of."""
    return sorted(facts, key=lambda fact: fact.version)


def judged(expected: Expected, facts: Iterable[Fact], ended: float) -> Judge:
    """Return the judge who has seen the whole run. Raises ValueError where the facts are not in order."""
    judge = Judge(expected)
    for fact in facts:
        judge.see(fact)
    judge.end(ended)
    return judge


class Judge:
    """What is known of the run so far, and the rules that were broken."""

    def __init__(self, expected: Expected) -> None:
        self._expected = expected
        self.violations: list[Violation] = []
        self.admitted = Holdings(expected.quota)
        self.on_nodes = Holdings(expected.quota)
        self.spans: list[Span] = []
        self.admissions: Counter[str] = Counter()  # by gang
        self.evictions: Counter[str] = Counter()  # by reason
        self.restarts: Counter[str] = Counter()  # by reason
        self.began: dict[str, float] = {}  # when each gang was submitted
        self.completed: dict[str, float] = {}
        self._attempts: dict[str, dict[int, Attempt]] = {gang: {} for gang in expected.gangs}
        self._workloads: dict[str, WorkloadFact] = {}
        self._jobs: dict[str, JobFact] = {}
        self._trained: set[str] = set()
        self._unadmitted: set[str] = set()
        self._now, self._version = 0.0, 0

    def see(self, fact: Fact) -> None:
        """Take the next fact. Raises ValueError where it is older than the one before."""
        if fact.version < self._version:
            raise ValueError(f"{fact.name}: version {fact.version} after {self._version}; see in_order")
        self._version = fact.version
        self._now = max(self._now, fact.at)  # one watch is read later than another
        if fact.gang not in self._expected.gangs:
            self._break("stranger", fact.gang, f"{fact.name} is of no gang of this run")
        elif isinstance(fact, PodFact):
            self._pod(fact)
        elif isinstance(fact, WorkloadFact):
            self._workload(fact)
        else:
            self._job(fact)

    def end(self, at: float) -> None:
        """The run is over: close what is open, and ask for what should have happened."""
        self._now = max(self._now, at)
        for gang, of in self._expected.gangs.items():
            attempts = self._attempts[gang]
            for attempt in attempts.values():
                self._close(gang, attempt.end(self._now))
            job, placed = self._jobs.get(gang), max((one.placed for one in attempts.values()), default=0)
            if job is None or job.phase != COMPLETE:
                phase = f"{job.phase or 'no phase'}, {job.told}" if job is not None else "it was never seen"
                self._break("unfinished", gang, f"{placed} of {of.size} workers placed; {phase}")
            elif gang not in self._trained:
                self._break("unfinished", gang, f"Complete, but never were {of.size} workers seen to end well")
        if self._expected.preempts and not self.evictions["Preempted"]:
            self._break("untested", "the run", "no gang was preempted, so nothing is known of preemption")

    def _pod(self, pod: PodFact) -> None:
        size = self._expected.gangs[pod.gang].size
        attempt = self._attempts[pod.gang].setdefault(pod.attempt, Attempt(size))
        self._close(pod.gang, attempt.see(pod, self._now))
        if len(attempt.done) >= size:
            self._trained.add(pod.gang)
        self._hold(self.on_nodes, pod, self._expected.gangs[pod.gang].queue, "workers on nodes take")
        self._check_admitted(pod.gang)

    def _workload(self, workload: WorkloadFact) -> None:
        old = self._workloads.get(workload.gang)
        self._workloads[workload.gang] = workload
        if workload.queue and (old is None or not old.queue):
            self.admissions[workload.gang] += 1
        if workload.evicted and (old is None or not old.evicted):
            self.evictions[workload.evicted] += 1
        self._hold(self.admitted, workload, workload.queue, "Workloads hold")
        self._check_admitted(workload.gang)

    def _job(self, job: JobFact) -> None:
        old = self._jobs.get(job.gang)
        self._jobs[job.gang] = job
        self.began.setdefault(job.gang, self._now)
        if old is not None and job.attempt > old.attempt:
            self.restarts[job.reason] += 1
        if job.phase == COMPLETE:
            self.completed.setdefault(job.gang, self._now)

    def _hold(self, holdings: Holdings, fact: PodFact | WorkloadFact, queue: str, what: str) -> None:
        if isinstance(fact, PodFact):
            covered = self._expected.quota.get(queue, {})
            amounts = {key: value for key, value in fact.requests.items() if fact.is_live and key in covered}
        else:
            amounts = dict(fact.usage)
        for (of, resource), total, quota in holdings.hold(fact.name, queue, amounts):
            text = f"all {what} {float(total):g} {resource} of queue {of}, which has {float(quota):g}"
            self._break("quota", fact.gang, text)

    def _check_admitted(self, gang: str) -> None:
        live = sum(len(one.live) for one in self._attempts[gang].values())
        workload = self._workloads.get(gang)
        pods = workload.pods if workload is not None else 0
        if live <= pods:
            self._unadmitted.discard(gang)
        elif gang not in self._unadmitted:
            self._unadmitted.add(gang)
            self._break("unadmitted", gang, f"{live} workers hold nodes, and it has quota for {pods}")

    def _close(self, gang: str, span: Span | None) -> None:
        if span is None:
            return
        self.spans.append(span)
        limit = self._expected.partial_seconds
        if span.seconds > limit:
            text = (
                f"for {span.seconds:.2f} s, from {span.began:.2f} s on, at most {span.placed} of {span.size} workers "
                f"had a node; it may be {limit:g} s"
            )
            self._break("partial", gang, text, at=span.began + limit)

    def _break(self, rule: str, gang: str, text: str, *, at: float | None = None) -> None:
        moment = self._now if at is None else at
        self.violations.append(Violation(rule=rule, gang=gang, at=moment, text=text))
