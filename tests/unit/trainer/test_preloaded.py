"""What a worker process finds loaded when it is forked."""

import subprocess
import sys

PROGRAM = """
import sys
from ganger_trainer import launch
launch.preload()
import torch
before = set(sys.modules)
layer = torch.nn.Linear(8, 1)
optimizer = torch.optim.AdamW(layer.parameters())
torch.nn.functional.mse_loss(layer(torch.randn(4, 8)), torch.randn(4, 1)).backward()
optimizer.step()
print(len({name for name in set(sys.modules) - before if name.startswith(("torch", "sympy"))}))
print(torch.cuda.is_initialized())
"""


def test_a_first_step_loads_no_more_of_torch_and_the_devices_are_untouched():
    """Else each process of each round would load it again, and a fork after CUDA was initialised could not use it."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)

    assert ["0", "False"] == done.stdout.split()
