"""What reaches the loss: the samples that the order dictates, whatever shape the data has and however they come."""

import pytest
import torch

from ganger_trainer import feed
from ganger_trainer.batches import Order

SIZE, BATCH = 50, 12


class Asked:
    """A data set that makes batches itself."""

    def __len__(self):
        return SIZE

    def batch(self, indices_B):  # noqa: N803
        return indices_B * 10


class OneByOne(torch.utils.data.Dataset):
    """A map-style data set."""

    def __len__(self):
        return SIZE

    def __getitem__(self, index):
        return torch.tensor(index * 10)


TENSOR = torch.arange(SIZE) * 10


def fed(data, *, rank=0, world_size=1, micro_batch=None):
    order = Order(size=SIZE, batch_size=BATCH, seed=3, world_size=world_size)
    made = feed.Feed(data, order, rank=rank, device=torch.device("cpu"), micro_batch=micro_batch, data_workers=0)
    return made, order


@pytest.fixture(params=[feed.GATHER_BYTES, 2 * BATCH * 8, 1], ids=["an epoch", "two steps", "one step"])
def gathered(request, monkeypatch):
    """Tensors are gathered for so many steps at once."""
    monkeypatch.setattr(feed, "GATHER_BYTES", request.param)


@pytest.mark.parametrize("data", [TENSOR, Asked(), OneByOne()], ids=["tensor", "batch()", "Dataset"])
@pytest.mark.parametrize("micro_batch", [None, 5, 100])
@pytest.mark.parametrize(("rank", "world_size"), [(0, 1), (1, 2), (2, 3)])
def test_each_step_brings_the_samples_of_the_order_in_pieces_that_weigh_what_they_should(
    gathered, data, micro_batch, rank, world_size
):
    made, order = fed(data, rank=rank, world_size=world_size, micro_batch=micro_batch)

    for step in [*range(11), 40, 41, 2]:
        fed_now = made.at(step)
        micros = fed_now.micros
        share = order.share(step, rank)
        assert [index * 10 for index in share.indices_B] == torch.cat([micro.batch for micro in micros]).tolist()
        assert pytest.approx(share.weight) == sum(micro.weight for micro in micros)
        assert all(len(micro.batch) <= (micro_batch or SIZE) for micro in micros)
        assert (len(share.indices_B), share.global_size) == (fed_now.samples, fed_now.global_samples)


@pytest.mark.parametrize(("gather_bytes", "steps"), [(1, 1), (2 * BATCH * 8, 2), (1 << 20, 5)])
def test_no_more_is_gathered_than_fits_and_never_beyond_the_epoch(monkeypatch, gather_bytes, steps):
    monkeypatch.setattr(feed, "GATHER_BYTES", gather_bytes)
    made, order = fed(TENSOR)
    assert 5 == order.steps_per_epoch

    made.at(5)

    assert steps == len(made._gathered)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_images_keep_their_values_and_their_layout_in_memory(gathered, layout):
    images = torch.arange(SIZE * 24.0).view(SIZE, 2, 3, 4).contiguous(memory_format=layout)
    made, order = fed(images)

    for step in range(6):
        (micro,) = made.at(step).micros
        assert images[order.share(step, 0).indices_B].tolist() == micro.batch.tolist()
        assert images.stride() == micro.batch.stride()


def test_tensors_of_a_tuple_stay_together(gathered):
    made, order = fed((TENSOR, -TENSOR, TENSOR.float().unsqueeze(1)))

    for step in range(9):
        (micro,) = made.at(step).micros
        first, second, third = micro.batch
        assert [index * 10 for index in order.share(step, 0).indices_B] == first.tolist()
        assert first.equal(-second)
        assert (len(first), 1) == third.shape


def test_a_loss_that_changes_its_batch_in_place_harms_no_other_step_and_not_the_data(gathered):
    data = TENSOR.clone()
    made, order = fed(data)

    for step in range(9):
        (micro,) = made.at(step).micros
        assert [index * 10 for index in order.share(step, 0).indices_B] == micro.batch.tolist()
        micro.batch.fill_(-1)
    assert TENSOR.equal(data)
