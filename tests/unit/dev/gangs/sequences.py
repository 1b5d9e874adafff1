"""Sequences of facts by hand: a gang of two workers in a queue of four GPUs, told write by write."""

from fractions import Fraction

from ganger_dev.gangs.expected import Expected, Gang
from ganger_dev.gangs.facts import JobFact, PodFact, WorkloadFact
from ganger_dev.gangs.judge import Judge

GPU = "nvidia.com/gpu"
EXPECTED = Expected(
    gangs={name: Gang(size=2, queue="north") for name in ("a", "b", "c")},
    quota={"north": {GPU: Fraction(4)}},
    partial_seconds=10.0,
    preempts=False,
)


class Story:
    """What happens, one write after another; `verdict` is what the judge says of it."""

    def __init__(self, expected=EXPECTED):
        self.judge = Judge(expected)
        self.now = 0.0
        self.version = 0

    def wait(self, seconds):
        self.now += seconds
        return self

    def tell(self, make, **what):
        self.version += 1
        self.judge.see(make(version=self.version, at=self.now, **what))
        return self

    def pod(self, gang, worker, phase="Running", *, attempt=0, **what):
        """A worker with a node, unless it is told otherwise."""
        what = {"bound": True, "requests": {GPU: Fraction(1)}} | what
        return self.tell(PodFact, name=f"{gang}-{attempt}-{worker}", gang=gang, attempt=attempt, phase=phase, **what)

    def admit(self, gang, pods=2, gpus=2):
        usage = {GPU: Fraction(gpus)}
        return self.tell(WorkloadFact, name=f"w-{gang}", gang=gang, queue="north", pods=pods, usage=usage)

    def release(self, gang, evicted=""):
        return self.tell(WorkloadFact, name=f"w-{gang}", gang=gang, evicted=evicted)

    def evict(self, gang, reason):
        what = {"queue": "north", "pods": 2, "usage": {GPU: Fraction(2)}, "evicted": reason}
        return self.tell(WorkloadFact, name=f"w-{gang}", gang=gang, **what)

    def job(self, gang, phase, **what):
        return self.tell(JobFact, name=gang, gang=gang, phase=phase, **what)

    def run(self, gang):
        """Admitted and placed."""
        return self.admit(gang).pod(gang, 0).pod(gang, 1)

    def finish(self, gang):
        """Both workers end well, and the job with them."""
        return self.pod(gang, 0, "Succeeded").pod(gang, 1, "Succeeded").release(gang).job(gang, "Complete")

    def all_others(self, *gangs):
        """The gangs that the story is not about come and go."""
        for gang in gangs:
            self.job(gang, "Pending").run(gang).finish(gang)
        return self

    def verdict(self):
        self.judge.end(self.now)
        return [(one.rule, one.gang) for one in self.judge.violations]
