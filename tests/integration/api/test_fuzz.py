"""The fuzzer's cases on the API server: it says yes to what the offline check accepts, and understands the same.

`make fuzz` asks for more cases by GANGER_FUZZ_CASES. What the offline check refuses alone: rules without a CEL form,
and in text what readers of YAML disagree on.
"""

import json
import os

import pytest

from fuzz import sound
from fuzz.cases import KINDS, Case, case
from ganger.api.manifest import ManifestError, load
from ganger.api.rule import attribute
from ganger.api.rules import RULES
from ganger.api.types import TrainingJob, TrainingJobSpec, decode
from ganger.api.validate import check, check_manifest

CASES = int(os.environ.get("GANGER_FUZZ_CASES", "60"))
OFFLINE = {rule.message for rule in RULES if not rule.cel}
APPLY = "application/apply-patch+yaml"


def numbers(kinds):
    """The cases of these kinds."""
    return [number for number in range(CASES) if KINDS[number % len(KINDS)] in kinds]


def same(job: TrainingJob, stored) -> None:
    """Fail when the server keeps another spec than the offline check read."""
    assert job.spec == decode({key: value for key, value in stored.items() if key != "status"}).spec


@pytest.mark.parametrize("number", numbers({"sound", "drawn", "mistake", "contradiction"}))
def test_a_manifest_is_accepted_offline_just_when_the_server_accepts_it(server, number):
    one = case(1, number)
    job, errors = check_manifest(as_read(one))
    answer = server.try_(one.manifest)
    known_to_both = [str(error) for error in errors if error.message not in OFFLINE]

    assert answer.accepted == (not known_to_both), f"{one}\noffline: {known_to_both}\nserver: {answer.message}"
    if job is not None:
        same(job, answer.object)


def as_read(one: Case) -> sound.Manifest:
    """The manifest as `ganger validate` reads it, 1.0 as 1; what it refuses to read, numbers beyond 64 bits, as is."""
    try:
        return load(one.text)[0].manifest
    except ManifestError:
        return one.manifest or {}


@pytest.mark.parametrize("number", numbers({"text"}))
def test_a_text_that_is_read_offline_means_the_same_to_the_server(server, number):
    one = case(1, number)
    job = only_job(one)
    if job is None:
        return  # stricter by intent: what readers of YAML disagree on, and files of several documents
    text = one.text.decode()
    # kubectl, too, reads a file that begins so as JSON.
    answer = server.try_(json.loads(text)) if text.startswith("{") else server.try_text(text)

    assert (201, "") == (answer.code, answer.message), f"{one}: {one.text!r}"
    same(job, answer.object)


def only_job(one: Case) -> TrainingJob | None:
    """The job of a text that holds one document and is accepted."""
    try:
        documents = load(one.text)
    except ManifestError:
        return None
    return check_manifest(documents[0].manifest)[0] if len(documents) == 1 else None


@pytest.mark.parametrize("number", numbers({"transition"}))
def test_a_change_is_allowed_offline_just_when_the_server_allows_it_and_leaves_no_trace(server, number):
    one = case(1, number)
    assert one.before is not None
    assert one.manifest is not None
    name = f"fuzz-{number}"
    before, after = renamed(one.before, name), renamed(one.manifest, name)
    path = f"{server.jobs}/{name}"
    applied = apply(server, path, before)
    assert applied.accepted, applied.message
    try:
        errors = check(decode(after), decode(before))
        changed = apply(server, path, after)
        if not as_written_alone(before, after):
            assert changed.accepted == (not errors), f"{one}\n{list(map(str, errors))}\n{changed.message}"
        if changed.accepted:
            fresh = apply(server, f"{path}-fresh", renamed(after, f"{name}-fresh"), dry=True)
            same(decode(fresh.object), changed.object)
            back = apply(server, path, before)
            if back.accepted:
                same(decode(applied.object), back.object)
    finally:
        server.api.delete(path)


def apply(server, path: str, manifest: sound.Manifest, *, dry: bool = False):
    """Apply on the server's side, as `ganger submit` does."""
    text = json.dumps(manifest, ensure_ascii=False)
    return server.ask("PATCH", f"{path}?fieldManager=fuzz{'&dryRun=All' if dry else ''}", text, APPLY)


def renamed(manifest: sound.Manifest, name: str) -> sound.Manifest:
    """Under a name of its own; what is null is absent to server-side apply as well."""
    return manifest | {"metadata": {"name": name}}


def as_written_alone(before: sound.Manifest, after: sound.Manifest) -> bool:
    """Whether a field is written otherwise and means the same: CEL compares what is written."""
    old, new = decode(before).spec, decode(after).spec
    fields = before["spec"].keys() | after["spec"].keys()
    told = [field for field in fields if before["spec"].get(field) != after["spec"].get(field)]
    names = [attribute(TrainingJobSpec, field) for field in told]
    return any(getattr(old, name) == getattr(new, name) for name in names)
