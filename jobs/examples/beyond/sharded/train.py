"""FSDP2: each rank holds a part of every parameter, its gradient and its optimizer state. A plain script.

Run it with two workers: `ganger run job.yaml` here, or on a cluster with the file in a ConfigMap. It saves when asked
to, when stopped, and every 50 steps; a restart goes on from there, also with another number of ranks.
"""

import json
import os
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict
from torch.distributed.fsdp import fully_shard
from torch.nn import functional

import ganger_trainer

STEPS, SAVE_EVERY, BATCH, WIDTH = 200, 50, 64, 128
WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)


def build(device):
    """The network, block by block in parts: a block is whole only while it computes."""
    torch.manual_seed(0)
    blocks = [nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.GELU()) for _ in range(4)]
    model = nn.Sequential(nn.Linear(16, WIDTH), *blocks, nn.Linear(WIDTH, 1)).to(device)
    for block in model:
        fully_shard(block)
    fully_shard(model)
    return model


def save(step, model, optimizer, file):
    """Put the parts together on rank 0 and commit them by a rename. A collective call.

    For what does not fit one machine, torch.distributed.checkpoint writes the parts side by side.
    """
    model_state, optimizer_state = get_state_dict(model, optimizer, options=WHOLE)
    if dist.get_rank() == 0:
        tensors = {f"model/{name}": value for name, value in model_state.items()}
        for name, state in optimizer_state["state"].items():
            tensors |= {f"optimizer/{name}/{key}": torch.as_tensor(value) for key, value in state.items()}
        groups = json.dumps(optimizer_state["param_groups"])
        part = file.with_suffix(".part")
        save_file(tensors, part, metadata={"step": str(step), "groups": groups})
        part.rename(file)
    dist.barrier()


def load(model, optimizer, file):
    """Give each rank its part of the file, however many ranks there are now; return the step."""
    if not file.exists():
        return 0
    step, model_state, optimizer_state = _read(file)
    set_state_dict(model, optimizer, model_state_dict=model_state, optim_state_dict=optimizer_state, options=WHOLE)
    return step


def _read(file):
    model_state, state = {}, {}
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
        for name in opened.keys():  # noqa: SIM118
            kind, _, rest = name.partition("/")
            if kind == "model":
                model_state[rest] = opened.get_tensor(name)
            else:
                parameter, _, key = rest.rpartition("/")
                state.setdefault(parameter, {})[key] = opened.get_tensor(name)
    return int(metadata["step"]), model_state, {"state": state, "param_groups": json.loads(metadata["groups"])}


def batch(step, rank, world):
    """This rank's part of the global batch of a step: the same samples whatever the number of ranks."""
    x = torch.randn(BATCH, 16, generator=torch.Generator().manual_seed(step))
    return x[rank::world], x.square().sum(1, keepdim=True)[rank::world]


def agreed(wish, device):
    """Rank 0 decides for all: a request reaches the ranks at slightly different times."""
    flag = torch.tensor([wish], dtype=torch.int32, device=device)
    dist.broadcast(flag, src=0)
    return bool(flag.item())


def main():
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if cuda else torch.device("cpu")
    dist.init_process_group("nccl" if cuda else "gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    model = build(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)  # after fully_shard: its state is in parts, too
    held = sum(p.to_local().numel() for p in model.parameters())
    print(f"rank {rank} of {world} holds {held} of {sum(p.numel() for p in model.parameters())} numbers", flush=True)
    file = Path(ganger_trainer.checkpoint_dir()) / "sharded.safetensors"
    first = load(model, optimizer, file)
    print(f"begins at step {first}", flush=True)
    for step in range(first + 1, STEPS + 1):
        x, y = (part.to(device) for part in batch(step, rank, world))
        loss = functional.mse_loss(model(x), y)
        loss.backward()  # gathers each block again, and leaves each rank the mean gradient of its part
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 10 == 0:
            dist.all_reduce(mean := loss.detach() / world)
            ganger_trainer.report(step=step, loss=mean.item(), total_steps=STEPS)
            if rank == 0:
                print(f"step {step} loss {mean.item():.4f}", flush=True)
        stop = agreed(ganger_trainer.should_stop(), device)
        if stop or agreed(ganger_trainer.should_save(), device) or step % SAVE_EVERY == 0:
            save(step, model, optimizer, file)
        if stop:
            break
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
