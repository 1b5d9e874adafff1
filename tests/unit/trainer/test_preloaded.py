"""What a worker process finds loaded when it is forked, and that torch's compiler is there for whoever asks."""

import json
import subprocess
import sys

import pytest

PRELOADED = """
import json, sys
from ganger_trainer import config, launch
import torch
launch.preload(compiler={compiler})
before = set(sys.modules)
torch.distributed.init_process_group("gloo", rank=0, world_size=1, store=torch.distributed.HashStore())
layer = torch.nn.Linear(8, 1)
module = torch.nn.parallel.DistributedDataParallel(layer)
for kind in (torch.optim.SGD, torch.optim.AdamW):
    optimizer = kind(layer.parameters())
    with torch.autocast("cpu", torch.bfloat16):
        torch.nn.functional.mse_loss(module(torch.randn(4, 8)), torch.randn(4, 1)).backward()
    torch.nn.utils.clip_grad_norm_(layer.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    optimizer.load_state_dict(optimizer.state_dict())
said = {{
    "later": sorted({{name for name in set(sys.modules) - before if name.startswith(("torch._", "sympy"))}}),
    "devices": torch.cuda.is_initialized(),
    "compiler": "torch._dynamo.convert_frame" in sys.modules,
}}
"""
FORKS = """
import os
for line in sys.stdin:
    if (child := os.fork()) == 0:
        exec(json.loads(line))
        print(json.dumps(said), flush=True)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        print("null", flush=True)
"""
DISABLED = "torch.optim.Optimizer.zero_grad.__wrapped__"


class Preloaded:
    """A process that preloads, takes a step with each of two optimizers, and then forks for each question."""

    def __init__(self, *, compiler: bool) -> None:
        program = PRELOADED.format(compiler=compiler) + FORKS
        self._process = subprocess.Popen([sys.executable, "-c", program], stdin=-1, stdout=-1, text=True)

    def ran(self, code: str = "") -> object:
        """What a fork says at the end of `code`; None where that fails, and why is on stderr."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(code) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def end(self) -> None:
        self._process.communicate()


@pytest.fixture(scope="module")
def ran():
    preloaded = Preloaded(compiler=False)
    yield preloaded.ran
    preloaded.end()


@pytest.mark.parametrize("compiler", [True, False])
def test_a_first_step_loads_no_more_of_torch_and_the_devices_are_untouched(compiler):
    """Else each process of each round would load it again, and a fork after CUDA was initialised could not use it."""
    preloaded = Preloaded(compiler=compiler)

    assert {"later": [], "devices": False, "compiler": compiler} == preloaded.ran()
    preloaded.end()


@pytest.mark.parametrize(
    "ask",
    [
        "found = torch._dynamo.config",
        "import torch._dynamo.config as found",
        "from torch._dynamo import config as found",
        "found = sys.modules['torch._dynamo'].utils.config",
        "held = torch._dynamo; torch._dynamo.reset(); found = held.config",
        "torch.compiler.disable(lambda: 1); found = sys.modules['torch._dynamo'].config",
    ],
)
def test_whatever_else_is_asked_of_the_compiler_the_real_one_answers_and_is_loaded_once(ran, ask):
    then = f"""
{ask}
import torch._dynamo.utils
said = {{
    "real": found is torch._dynamo.config is torch._dynamo.utils.config and found.optimize_ddp is True,
    "module": type(sys.modules["torch._dynamo"]).__name__,
    "file": torch._dynamo.config.__spec__.origin == torch._dynamo.config.__file__,
    "utils": torch._dynamo.utils is sys.modules["torch._dynamo.utils"],
}}
"""
    assert {"real": True, "module": "module", "file": True, "utils": True} == ran(then)


def test_functions_that_torch_keeps_from_being_compiled_are_kept_so_once_it_can_compile(ran):
    then = f"""
kept = {DISABLED}
said = {{"before": vars(kept)["__dynamo_disable"] is kept}}
traced = torch.compile(lambda x: x * 2 + 1, backend="eager")(torch.ones(1))
optimizer.zero_grad()
said |= {{"traced": traced.item(), "after": hasattr(vars(kept)["__dynamo_disable"], "_torchdynamo_disable")}}
"""
    assert {"before": True, "traced": 3.0, "after": True} == ran(then)


def test_threads_that_ask_at_the_same_time_all_get_the_real_compiler(ran):
    then = """
from concurrent.futures import ThreadPoolExecutor
import importlib
def ask(number):
    if number % 2:
        return importlib.import_module("torch._dynamo.config").optimize_ddp
    return torch._dynamo.config.optimize_ddp
with ThreadPoolExecutor(8) as pool:
    said = {"answers": list(pool.map(ask, range(8)))}
"""
    assert {"answers": [True] * 8} == ran(then)


def test_a_loop_that_compiles_finds_the_compiler_loaded_and_a_wrong_configuration_is_not_judged_here(ran):
    then = """
said = [config.compiles(text) for text in ('{"compile": true, "lr": 1}', '{"lr": 1}', '{"compile": 3}', "{")]
"""
    assert [True, False, False, False] == ran(then)
