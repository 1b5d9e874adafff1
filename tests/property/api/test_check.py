"""The offline check on manifests made from the schema: total, settled, and one with the types."""

import json

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ganger.api.defaults import fill
from ganger.api.field_error import below
from ganger.api.manifest import ManifestError, load
from ganger.api.quantity import QUANTITY_PATTERN, parse
from ganger.api.types import decode, encode
from ganger.api.validate import check, check_manifest
from property.api.manifests import manifests

few = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


@few
@given(manifests())
def test_every_manifest_is_either_a_job_or_a_list_of_named_mistakes(manifest):
    job, errors = check_manifest(manifest)

    assert (job is None) == bool(errors)
    assert all(error.path and error.message for error in errors)
    # `explain` translates msgspec's complaints: were it ever needed, the schema would have forgotten something.
    assert not any(error.message.startswith(("expected ", "invalid ", "object ")) for error in errors)
    if job is None:
        return
    assert [] == check(job)
    # The operator decodes what the server stored by the same types.
    again = decode(json.dumps(encode(job)).encode())
    assert (job.metadata, job.spec) == (again.metadata, again.spec)
    assert fill(job, "i") == fill(fill(job, "i"), "i")


def _fields(value, path):
    """Every object below a value with each of its keys and the path of that."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield value, key, below(path, key)
            yield from _fields(item, below(path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _fields(item, f"{path}[{index}]")


@few
@given(manifests(spoilt=False), st.data())
def test_one_misfit_in_a_sound_manifest_is_the_only_thing_blamed(manifest, data):
    """The rules that are asked beside a misfit must not take it for something that is missing."""
    assume(check_manifest(manifest)[0] is not None)
    part, key, path = data.draw(st.sampled_from(list(_fields(manifest["spec"], "spec"))))
    part[key] = [[]]  # belongs nowhere but into a free-form field
    _, errors = check_manifest(manifest)

    assert [] == [str(error) for error in errors if error.path != path and not error.path.startswith(f"{path}[")]


@few
@given(st.from_regex(QUANTITY_PATTERN, fullmatch=True).filter(lambda text: len(text) <= 32))
def test_every_text_that_the_schema_takes_for_a_quantity_has_a_value(text):
    assert parse(text) >= 0


@few
@given(manifests(), st.booleans(), st.sampled_from([None, 2]))
def test_a_manifest_reads_the_same_from_json_however_it_is_written(manifest, ascii_alone, indent):
    text = json.dumps(manifest, ensure_ascii=ascii_alone, indent=indent)

    assert ([manifest], "") == read(text)


@few
@given(st.binary(max_size=64) | st.text(max_size=64) | st.text(alphabet=" \n\t:-[]{}&*!|>'\"%@`#,?ab0", max_size=64))
def test_any_text_at_all_is_read_or_refused_in_one_sentence(text):
    documents, refused = read(text)

    assert bool(documents) != bool(refused)
    assert "\n" not in refused


def read(text: str | bytes) -> tuple[list[object], str]:
    """The documents of a text, or why there are none."""
    try:
        return [document.manifest for document in load(text)], ""
    except ManifestError as error:
        return [], str(error)
