"""One MLflow run for each job, continued by every attempt. Imports mlflow: import it only when it is wanted."""

import os
import re
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

from msgspec import Struct

from ganger_trainer.sinks import Outcome, Point

# A training pod reports to those whom its user named, and to nobody else.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# By itself MLflow tries for many minutes before it says that a server is away. 2 + 4 + 8 s, and then the next point:
# the others wait in the queue meanwhile.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
_tracking: Final = import_module("mlflow.tracking")
_entities: Final = import_module("mlflow.entities")

TAG_UID: Final = "ganger.job_uid"
TAG_NAMESPACE: Final = "ganger.namespace"
PARAMETER_LENGTH_MAX: Final = 500  # of a server before MLflow 2.8
_STATUS: Final[dict[Outcome, str]] = {"Done": "FINISHED", "Preempted": "KILLED", "Failed": "FAILED"}


class Identity(Struct, frozen=True, kw_only=True):
    """Whose run it is. The run has the job's name and is found again by the UID."""

    namespace: str
    job: str
    uid: str


class Mlflow:
    """Writes the points of one job to a tracking server.

    continues: whether a run of the same UID is to be continued; else a new one is begun. settings: logged as
    parameters of a new run. Steps that a restart repeats are in the run twice: MLflow cannot take back a value.
    """

    name = "mlflow"

    def __init__(
        self, *, tracking_uri: str, experiment: str, identity: Identity, continues: bool, settings: Mapping[str, Any]
    ) -> None:
        self._uri = tracking_uri
        self._experiment = experiment
        self._identity = identity
        self._continues = continues
        self._settings = settings
        self._client: Any = None
        self._run_id = ""

    def write(self, point: Point) -> None:
        """Add the point to the run; the first one finds or begins it. Raises MlflowException."""
        if not self._run_id:
            self._run_id = self._open()
        milliseconds = int(point.time * 1000)
        self._client.log_batch(
            self._run_id,
            metrics=[
                _entities.Metric(_allowed(name), value, milliseconds, point.step)
                for name, value in point.values.items()
            ],
        )

    def close(self, outcome: Outcome) -> None:
        """Set the status of the run, if there is one. Raises MlflowException."""
        if self._run_id:
            self._client.set_terminated(self._run_id, status=_STATUS[outcome])

    def _open(self) -> str:
        if self._client is None:
            self._client = _tracking.MlflowClient(tracking_uri=self._uri)
        known = self._client.get_experiment_by_name(self._experiment)
        experiment_id = known.experiment_id if known else self._client.create_experiment(self._experiment)
        if self._continues and (run_id := self._found(experiment_id)):
            self._client.update_run(run_id, status="RUNNING")
            return run_id
        tags = {TAG_UID: self._identity.uid, TAG_NAMESPACE: self._identity.namespace}
        run_id = str(self._client.create_run(experiment_id, run_name=self._identity.job, tags=tags).info.run_id)
        parameters = [
            _entities.Param(key, str(value)[:PARAMETER_LENGTH_MAX])
            for key, value in self._settings.items()
            if value is not None
        ]
        self._client.log_batch(run_id, params=parameters)
        return run_id

    def _found(self, experiment_id: str) -> str | None:
        """Return the newest run of this job."""
        wanted = {TAG_UID: self._identity.uid, TAG_NAMESPACE: self._identity.namespace}
        words = " and ".join(f"tags.`{tag}` = '{value}'" for tag, value in wanted.items())
        words += f" and attributes.run_name = '{self._identity.job}'"
        runs = self._client.search_runs(
            [experiment_id], filter_string=words, max_results=1, order_by=["attributes.start_time DESC"]
        )
        return str(runs[0].info.run_id) if runs else None


def _allowed(name: str) -> str:
    """Return `name` with what MLflow refuses in a name replaced by underscores."""
    return re.sub(r"[^\w./ :-]", "_", name)
