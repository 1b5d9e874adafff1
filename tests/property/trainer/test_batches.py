"""The order of data, for any size, batch and number of ranks."""

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from ganger_trainer.batches import Order

sizes = st.integers(1, 400)
batch_sizes = st.integers(1, 130)
worlds = st.integers(1, 9)
seeds = st.integers(0, 2**63 - 1)


def order(size, batch_size, seed, world_size):
    assume(size >= world_size and batch_size >= world_size)
    return Order(size=size, batch_size=batch_size, seed=seed, world_size=world_size)


@given(sizes, batch_sizes, seeds, worlds, st.integers(0, 3))
def test_an_epoch_shows_every_sample_exactly_once_over_all_ranks(size, batch_size, seed, world_size, epoch):
    data = order(size, batch_size, seed, world_size)
    first = epoch * data.steps_per_epoch

    seen = [
        data.share(first + step, rank).indices_B for step in range(data.steps_per_epoch) for rank in range(world_size)
    ]

    assert list(range(size)) == sorted(np.concatenate(seen).tolist())


@given(sizes, batch_sizes, seeds, worlds)
def test_every_rank_has_work_at_every_step_and_shares_differ_by_one_at_most(size, batch_size, seed, world_size):
    data = order(size, batch_size, seed, world_size)

    for step in range(data.steps_per_epoch):
        lengths = [len(data.share(step, rank).indices_B) for rank in range(world_size)]
        assert min(lengths) >= 1
        assert max(lengths) - min(lengths) <= 1


@given(sizes, batch_sizes, seeds, worlds, st.integers(0, 1000))
def test_a_step_shows_the_same_samples_at_any_world_size(size, batch_size, seed, world_size, step):
    assume(size % batch_size == 0 or size % batch_size >= world_size)  # else the tail joins the batch before it
    many, one = order(size, batch_size, seed, world_size), order(size, batch_size, seed, 1)

    shares = [many.share(step, rank).indices_B for rank in range(world_size)]

    assert one.share(step, 0).indices_B.tolist() == np.concatenate(shares).tolist()


@given(sizes, batch_sizes, seeds, worlds, st.integers(0, 1000))
def test_weights_make_the_mean_over_ranks_the_mean_over_samples(size, batch_size, seed, world_size, step):
    data = order(size, batch_size, seed, world_size)
    shares = [data.share(step, rank) for rank in range(world_size)]

    mean = sum(share.weight * np.mean(share.indices_B) for share in shares) / world_size

    assert np.isclose(np.mean(np.concatenate([share.indices_B for share in shares])), mean)
    assert {sum(len(share.indices_B) for share in shares)} == {share.global_size for share in shares}


@given(sizes, batch_sizes, seeds, worlds, st.lists(st.integers(0, 500), min_size=1, max_size=20))
def test_order_does_not_depend_on_the_steps_asked_before(size, batch_size, seed, world_size, steps):
    used = order(size, batch_size, seed, world_size)
    for step in steps:
        used.share(step, 0)

    fresh = order(size, batch_size, seed, world_size)

    assert fresh.share(steps[0], 0).indices_B.tolist() == used.share(steps[0], 0).indices_B.tolist()


@given(sizes, batch_sizes, seeds, worlds, st.integers(0, 300))
def test_samples_before_a_step_are_the_sum_of_the_batches_before_it(size, batch_size, seed, world_size, step):
    data = order(size, batch_size, seed, world_size)

    assert sum(data.share(earlier, 0).global_size for earlier in range(step)) == data.samples_before(step)


@given(sizes, batch_sizes, seeds, worlds, st.data())
def test_any_sequence_of_world_sizes_goes_through_the_epochs_as_one_fixed_size(size, batch_size, seed, most, data):
    assume(size >= most and batch_size >= most)
    fixed = order(size, batch_size, seed, most)
    sizes_of_gang = data.draw(st.lists(st.integers(1, most), min_size=1, max_size=6))
    last = 2 * fixed.steps_per_epoch
    changes = sorted(data.draw(st.lists(st.integers(0, last), max_size=5)))

    seen = []
    for begin, end, world_size in zip([0, *changes], [*changes, last], sizes_of_gang * 6, strict=False):
        gang = Order(size=size, batch_size=batch_size, seed=seed, world_size=world_size, world_size_max=most)
        assert fixed.steps_per_epoch == gang.steps_per_epoch
        for step in range(begin, end):
            assert len(seen) == gang.samples_before(step)
            shares = [gang.share(step, rank) for rank in range(world_size)]
            assert min(len(share.indices_B) for share in shares) >= 1
            seen += np.concatenate([share.indices_B for share in shares]).tolist()

    whole = [fixed.share(step, rank).indices_B for step in range(last) for rank in range(most)]
    assert np.concatenate(whole).tolist() == seen
    assert list(range(size)) == sorted(seen[:size]) == sorted(seen[size:])


@given(sizes, batch_sizes, seeds, worlds, st.integers(0, 50))
def test_an_order_that_may_not_grow_is_the_order_without_a_bound(size, batch_size, seed, world_size, step):
    plain = order(size, batch_size, seed, world_size)
    bounded = Order(size=size, batch_size=batch_size, seed=seed, world_size=world_size, world_size_max=world_size)

    assert plain.steps_per_epoch == bounded.steps_per_epoch
    for rank in range(world_size):
        assert plain.share(step, rank).indices_B.tolist() == bounded.share(step, rank).indices_B.tolist()
        assert plain.share(step, rank).weight == bounded.share(step, rank).weight
