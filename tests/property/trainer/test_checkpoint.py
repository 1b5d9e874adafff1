"""Checkpoint values: anything that goes in comes out, anything that was touched is refused."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ganger_trainer.checkpoint import layout, manifest, retention, staging, tree
from ganger_trainer.environment import CheckpointPolicy

scalars = st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False) | st.text(max_size=5)
keys = st.integers(0, 50) | st.text(max_size=4)
tensors = st.builds(
    lambda size, kind: torch.arange(size).to(kind),
    st.integers(0, 5),
    st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.uint8, torch.bool]),
)
trees = st.recursive(
    scalars | tensors,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3) | st.tuples(inner, inner),
    max_leaves=8,
)


def same(left, right):
    if isinstance(left, torch.Tensor):
        return isinstance(right, torch.Tensor) and left.dtype == right.dtype and left.equal(right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return type(left) is type(right) and len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and left == right


@given(trees)
def test_a_state_dict_comes_back_as_it_went(value):
    import msgspec

    held: dict[str, torch.Tensor] = {}
    skeleton = msgspec.json.decode(msgspec.json.encode(tree.flatten(value, "part", held)))

    assert same(value, tree.unflatten(skeleton, held))


@given(st.lists(tensors, min_size=1, max_size=8), st.integers(1, 5))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_shards_of_all_ranks_together_are_readable_safetensors_of_every_tensor(values, world_size):
    from safetensors.torch import load

    everything = {f"model/{index}": value for index, value in enumerate(values)}
    found = {}
    for names in staging.shares(everything, world_size):
        mine = {name: everything[name] for name in names}
        buffer = staging.Staging(mine, pin=False)
        buffer.fill(mine)
        found |= load(bytes(buffer.image))

    assert same(dict(sorted(everything.items())), dict(sorted(found.items())))


def committed(directory):
    shard = directory / layout.shard(0)
    shard.write_bytes(bytes(range(256)) * 4)
    file = manifest.File(name=shard.name, size=1024, sha256=manifest.durable.sha256(shard))
    value = manifest.Manifest(
        format=manifest.FORMAT, job="j", job_uid="u", attempt=0, step=7, world_size=1, samples=1,
        saved_at="2026-01-01T00:00:00Z", score=0.25, files=(file,), trees={"model": {"w": {"$tensor": "model/w"}}},
    )  # fmt: skip
    (directory / layout.MANIFEST).write_bytes(manifest.encode(value))
    return value


@pytest.fixture(scope="module")
def step_7(tmp_path_factory):
    directory = tmp_path_factory.mktemp("checkpoints") / "step_7"
    directory.mkdir()
    return directory, committed(directory)


@given(data=st.data())
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_one_flipped_bit_anywhere_is_refused(step_7, data):
    directory, value = step_7
    assert value == manifest.verify(directory)
    path = directory / data.draw(st.sampled_from([layout.MANIFEST, layout.shard(0)]))
    whole = path.read_bytes()
    position, bit = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 7))
    try:
        path.write_bytes(whole[:position] + bytes([whole[position] ^ (1 << bit)]) + whole[position + 1 :])

        with pytest.raises(manifest.InvalidError):
            manifest.verify(directory)
    finally:
        path.write_bytes(whole)


def test_truncation_at_every_byte_of_the_manifest_is_refused(step_7):
    directory, _ = step_7
    path = directory / layout.MANIFEST
    whole = path.read_bytes()
    try:
        for length in range(len(whole)):
            path.write_bytes(whole[:length])
            with pytest.raises(manifest.InvalidError):
                manifest.verify(directory)
    finally:
        path.write_bytes(whole)


@given(
    st.dictionaries(st.integers(0, 1000), st.none() | st.floats(0, 10), min_size=1),
    st.integers(1, 5),
    st.integers(0, 3),
    st.none() | st.integers(1, 50),
)
def test_retention_keeps_the_newest_and_never_more_than_asked(scores, last, best, every):
    kept = retention.keep(scores, CheckpointPolicy(keep_last=last, keep_best=best, keep_every=every))

    assert max(scores) in kept
    assert kept <= scores.keys()
    multiples = {step for step in scores if every and step % every == 0}
    assert len(kept - multiples) <= last + best
    assert multiples <= kept
