"""A release from its install to its uninstall and beyond, with jobs that must not notice."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ganger_dev.chart.programs import Answer, Programs
from ganger_dev.chart.space import CHART, NAMESPACE
from ganger_dev.chart.tally import Tally

DEFINITION: Final = "trainingjobs.ganger.dev"
DEFINITIONS: Final = (DEFINITION, "trainingprofiles.ganger.dev", "devsessions.ganger.dev")
JOBS_NAMESPACE: Final = "ganger-chart"
_KIND: Final = "facts of a release's life"
_WAIT_SECONDS: Final = 120
_JOBS: Final = (
    {"metadata": {"name": "suspended"}, "spec": {"task": "m:t", "suspend": True}},
    {"metadata": {"name": "running"}, "spec": {"command": ["sleep", "3600"], "workers": 1}},
)


@dataclass(frozen=True, kw_only=True)
class Life:
    """One release on one cluster. kubelet: whether pods run there. values: of every install and upgrade."""

    programs: Programs
    tally: Tally
    kubelet: bool
    values: dict[str, Any] = field(default_factory=dict)

    def run(self, folder: Path) -> None:
        """Go through the whole life; what it made is gone afterwards. folder: for a second version of the chart.

        A cluster that has a Ganger already is left alone, and that is a miss.
        """
        alone = all(self.programs.get("crd", name) is None for name in DEFINITIONS)
        self._expect("the cluster has no other Ganger: uninstall it, and delete its definitions", alone)
        if not alone:
            return
        made = self.programs.get("namespace", NAMESPACE) is None
        try:
            self._live(_next_version(folder))
        finally:
            self.programs.helm("uninstall", "ganger", "--ignore-not-found", "--wait")
            namespaces = [JOBS_NAMESPACE, *([NAMESPACE] if made else [])]
            self.programs.kubectl("delete", "namespace", *namespaces, "--ignore-not-found")
            self.programs.kubectl("delete", "crd", *DEFINITIONS, "--ignore-not-found")

    def _live(self, newer: Path) -> None:
        self._helm("install", CHART)
        self._expect("the definitions are established", self._until(self._established))
        before = self._submit()
        if self.kubelet:
            self._test()
        self._helm("upgrade", newer)
        names = (self.programs.get("crd", DEFINITION) or {})["spec"]["names"]["shortNames"]
        self._expect("an upgrade brings the definition up to date", "newname" in names, names)
        self._same("an upgrade", before)
        self._ok("helm rolls back", self.programs.helm("rollback", "ganger", "1", *self._waiting()))
        names = (self.programs.get("crd", DEFINITION) or {})["spec"]["names"]["shortNames"]
        self._expect("a rollback brings the definition back", "newname" not in names, names)
        self._same("a rollback", before)
        self._ok("helm uninstalls", self.programs.helm("uninstall", "ganger", "--wait"))
        self._expect("an uninstall keeps the definitions", self._established())
        self._expect("an uninstall leaves nothing else", self._until(lambda: not self._left()), self._left())
        self._same("an uninstall", before)
        self._helm("install", CHART)
        self._same("a second install", before)

    def _helm(self, verb: str, chart: Path) -> None:
        options = ["--create-namespace"] if verb == "install" else []
        said = self.programs.helm(verb, "ganger", str(chart), *options, *self._waiting(), values=self.values)
        self._ok(f"helm {verb}s {chart.name}", said)

    def _waiting(self) -> list[str]:
        return ["--wait", "--timeout=3m"] if self.kubelet else []

    def _test(self) -> None:
        """Run `helm test`, which trains a job, and expect that it leaves nothing behind."""
        said = self.programs.helm("test", "ganger", "--timeout=5m")
        self._ok("helm test passes: a job trains to its end", said)
        self._expect("helm test says that the job is complete", "Complete" in said.out + said.error, said)
        hooks = self.programs.kubectl("get", "jobs,configmaps,serviceaccounts,tj", "-n", NAMESPACE, "--output=name").out
        self._expect("helm test leaves nothing behind", "helm-test-" not in hooks, hooks)

    def _submit(self) -> dict[str, str]:
        """Make the jobs and return who they and their pods are, once the running one runs."""
        self.programs.kubectl("create", "namespace", JOBS_NAMESPACE)
        head = {"apiVersion": "ganger.dev/v1alpha1", "kind": "TrainingJob"}
        text = "\n---\n".join(json.dumps(head | job) for job in _JOBS)
        sent: list[Answer] = []

        def submitted() -> bool:
            # Established is not yet served by every worker of the API server.
            sent.append(self.programs.kubectl("apply", "--namespace", JOBS_NAMESPACE, "--filename=-", stdin=text))
            return sent[-1].ok

        self._expect("jobs are taken", self._until(submitted), sent)
        if self.kubelet:
            waited = self.programs.kubectl(
                "wait", "--namespace", JOBS_NAMESPACE, "--for=condition=Running", "tj/running", "--timeout=120s"
            )
            self._ok("a job runs", waited)
        return self._identities()

    def _identities(self) -> dict[str, str]:
        """Return name and UID of each job and pod, a pod's with how often its container was restarted."""
        found = (self.programs.get("tj,pods", "--namespace", JOBS_NAMESPACE) or {}).get("items", [])
        return {f"{one['kind']} {one['metadata']['name']}": _identity(one) for one in found}

    def _same(self, what: str, before: dict[str, str]) -> None:
        now = self._identities()
        self._expect(f"{what} leaves all {len(before)} jobs and pods as they are", before == now, now)

    def _left(self) -> str:
        kinds = "deploy,svc,sa,cm,secret,pdb,role,rolebinding,clusterrole,clusterrolebinding"
        return self.programs.kubectl(
            "get", kinds, "--all-namespaces", "--selector=app.kubernetes.io/instance=ganger", "--output=name"
        ).out

    def _established(self) -> bool:
        told = [(self.programs.get("crd", name) or {}).get("status", {}) for name in DEFINITIONS]
        found = [status.get("conditions") or [] for status in told]
        return all(any((one["type"], one["status"]) == ("Established", "True") for one in each) for each in found)

    def _until(self, check: Callable[[], bool]) -> bool:
        end = time.monotonic() + _WAIT_SECONDS
        while not check():
            if time.monotonic() > end:
                return False
            time.sleep(0.2)
        return True

    def _ok(self, fact: str, answer: Answer) -> None:
        self._expect(fact, answer.ok, answer.error)

    def _expect(self, fact: str, held: bool, found: object = "") -> None:
        self.tally.expect(_KIND, fact, held, found)


def _identity(found: dict[str, Any]) -> str:
    containers = found.get("status", {}).get("containerStatuses", [])
    states = [f"{one['restartCount']} {' '.join(one['state'])}" for one in containers]
    return " ".join([found["metadata"]["uid"], *states])


def _next_version(folder: Path) -> Path:
    """Return the chart as a later version with a changed definition."""
    copy = Path(shutil.copytree(CHART, folder / "ganger-next"))
    definition = copy / "files" / "trainingjobs.yaml"
    definition.write_text(re.sub(r"(?m)^(\s+)shortNames:$", r"\1shortNames:\n\1- newname", definition.read_text()))
    metadata = copy / "Chart.yaml"
    metadata.write_text(re.sub(r"(?m)^version: .*$", "version: 99.0.0", metadata.read_text()))
    return copy
