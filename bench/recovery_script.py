"""The script of the peers of the recovery bench, for torchrun: model, steps and words are those of `recovery_task`."""

# ruff: noqa: N816
import os
import time

import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

SECONDS = 0.01  # that a step takes at least

rank = int(os.environ["RANK"])
run = time.time_ns()  # of this process: torchrun gives every start of a static gang the same id
print(f"PROCESS {rank} {run} {os.getpid()}", flush=True)
torch.set_num_threads(1)
dist.init_process_group("gloo")
model = DistributedDataParallel(nn.Linear(8, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
x_NF = torch.randn(64, 8)
while True:
    time.sleep(SECONDS)
    loss = functional.mse_loss(model(x_NF), x_NF.sum(1, keepdim=True))
    if rank == 0:
        print(f"STEP {run} {time.time():.6f}", flush=True)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
