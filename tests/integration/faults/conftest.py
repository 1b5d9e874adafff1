"""Operators behind fault proxies, on the control plane of the session; every event is checked for the invariants."""

from contextlib import ExitStack, contextmanager

import pytest

from apiclient import History, wait_for
from integration.faults.plan import Plan, Rule
from integration.faults.proxy import FaultProxy
from integration.operator.conftest import Operator, World


class FaultyWorld(World):
    """A world whose operators reach the API server through proxies, one each."""

    def __init__(self, control_plane, namespace, folder, history: History, stack: ExitStack) -> None:
        super().__init__(control_plane, namespace, folder, history)
        self._stack = stack
        self._count = 0

    def proxy(self, *rules: Rule, seed: int = 0) -> FaultProxy:
        """A proxy with a plan."""
        self._count += 1
        folder = self.folder / f"proxy-{self._count}"
        folder.mkdir()
        return self._stack.enter_context(FaultProxy(self.control_plane, folder, Plan(list(rules), seed)))

    def behind(self, proxy: FaultProxy, name: str = "operator-a", **settings: str) -> Operator:
        """An operator behind the proxy; it leads when this returns, if nobody else does."""
        operator = self.start_operator(name, KUBECONFIG=str(proxy.kubeconfig), **settings)
        wait_for(lambda: self.leader() or operator.process.poll() is not None, 40, "a leader")
        return operator

    def metric(self, operator: Operator, name: str, **labels: str) -> float:
        """A metric of the operator, 0.0 where there is none; labels must be those that are given."""
        total = 0.0
        for line in operator.read("/metrics").splitlines():
            series, _, value = line.rpartition(" ")
            if series.split("{")[0] == name and all(f'{key}="{text}"' in series for key, text in labels.items()):
                total += float(value)
        return total

    def gang(self, name: str = "digits", attempt: int = 0) -> list[str]:
        """Names of the pods of an attempt."""
        return [f"{name}-{attempt}-{worker}" for worker in range(2)]

    def move(self, attempt: int, *names: str) -> None:
        """The kubelet's next word on the pods of an attempt: new ones run; once the job runs, they end well."""
        for name in names:
            gang = self.gang(name, attempt)
            phases = {p["metadata"]["name"]: p["status"].get("phase") for p in self.api.items(self.pods)}
            self.run(*(pod for pod in gang if phases.get(pod) == "Pending"))
            if self.status(name).get("phase") == "Running" and all(phases.get(pod) == "Running" for pod in gang):
                for pod in gang:
                    self.end(pod, 0)

    def finish(self, name: str = "digits", attempt: int = 0, timeout: float = 30.0) -> None:
        """Let the pods of an attempt run and end well, and wait for the job's end."""

        def is_complete():
            self.move(attempt, name)
            return self.status(name).get("phase") == "Complete"

        wait_for(is_complete, timeout, f"the end of {name}")

    def creations(self) -> list[str]:
        """Names of all pods that were ever created, in order."""
        return self.history.created()


@contextmanager
def faulty_world(control_plane, namespace, folder, history):
    """A world on a control plane; whatever was started ends with it."""
    with ExitStack() as stack:
        world = FaultyWorld(control_plane, namespace, folder, history, stack)
        try:
            yield world
        finally:
            for operator in world.operators:
                operator.stop()


@pytest.fixture
def world(control_plane, crd, namespace, history, tmp_path):
    """A namespace without an operator yet."""
    with faulty_world(control_plane, namespace, tmp_path, history) as world:
        yield world
