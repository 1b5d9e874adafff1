"""The data of a job that runs without a cluster: fetched by the program of the pods, into folders of this machine."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from ganger import contract
from ganger.api.types import TrainingJob
from ganger.cli.problem import Code, Problem
from ganger.plan import data, remedy


def folder(runs: Path, job: TrainingJob) -> Path:
    """Return the folder that stands for /data: a link for each of the job's data."""
    return (runs / job.metadata.name / "data").absolute()


def access(runs: Path, job: TrainingJob) -> Path:
    """Return the folder that stands for Secrets and authorities: NAME/secret/KEY and NAME/ca/ca.crt."""
    return (runs / job.metadata.name / "access").absolute()


def provide(runs: Path, job: TrainingJob, environ: Mapping[str, str]) -> None:
    """Fetch what has a url and is not here yet, and link it. Raises Problem.

    What comes from a claim or an image is the user's to put there: `notes` says so.
    """
    if not job.spec.data:
        return
    cache, links = (runs / "data").absolute(), folder(runs, job)
    for each in (cache, links):
        each.mkdir(parents=True, exist_ok=True)
    # Without a digest a copy is the job's own, and here a job is known by its name from one run to the next.
    named = msgspec.structs.replace(job, metadata=msgspec.structs.replace(job.metadata, uid=job.metadata.name))
    if data.fetched(job):
        _fetch(named, cache, access(runs, job), environ)
    for source in data.fetched(job):
        link = links / source.name
        if link.is_symlink():
            link.unlink()
        elif link.exists():
            raise Problem(
                f"job {job.metadata.name} was not started",
                f"{link} is in the place of a link to what was fetched",
                "move it away",
                code=Code.REFUSED,
            )
        link.symlink_to(cache / data.key(named, source) / data.FILES)


def _fetch(job: TrainingJob, cache: Path, secrets: Path, environ: Mapping[str, str]) -> None:
    with tempfile.TemporaryDirectory(prefix="ganger-") as scratch:
        log = Path(scratch, "log")
        environment = dict(environ) | {
            "PYTHONUNBUFFERED": "1",
            contract.ENV_DATA_ORDERS: data.orders(job, os.fspath(secrets)),
            contract.ENV_DATA_CACHE: os.fspath(cache),
            contract.ENV_TERMINATION_LOG: os.fspath(log),
        }
        code = subprocess.run([sys.executable, *data.FETCH[1:]], env=environment, stdin=subprocess.DEVNULL).returncode
        if code == 0:
            return
        said = _said(log)
    known = remedy.remedy(said.get("reason", ""))
    fix = f"{known.remedy}; here a Secret is a folder with a file for each key, {secrets}/NAME/secret" if known else ""
    raise Problem(
        f"job {job.metadata.name} was not started",
        said.get("message") or f"what fetches its data ended with {code}",
        fix or "read what it said",
        code=Code.FAILED,
    )


def _said(log: Path) -> dict[str, str]:
    try:
        found = json.loads(log.read_bytes())
    except (OSError, ValueError):
        return {}
    return {key: str(value) for key, value in found.items()} if isinstance(found, dict) else {}


def notes(runs: Path, job: TrainingJob) -> Iterator[str]:
    """Yield what of the data this machine cannot bring."""
    for source in job.spec.data:
        place = folder(runs, job) / source.name
        if source.url is None and not place.exists():
            kind = "a claim" if source.claim is not None else "an image"
            yield f"data {source.name} comes from {kind} of the cluster: put its files, or a link to them, at {place}"
    if job.spec.data_cache is not None:
        yield f"spec.dataCache is not mounted: what is fetched is kept in {(runs / 'data').absolute()}"
