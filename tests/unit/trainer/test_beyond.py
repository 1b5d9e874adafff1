"""Beyond the first gradient: each example does what its page says, through the real loop."""

import sys
import types
from functools import partial
from pathlib import Path

import msgspec
import pytest
import torch
import yaml
from torch import nn
from torch.autograd.gradcheck import GradcheckError

import ganger_trainer
from builders import job
from ganger.plan.environment import worker_environment
from ganger_trainer import compiler, config, environment, lr_finder, randomness, task, worker
from ganger_trainer.examples import chargpt
from ganger_trainer.examples.beyond import averaged, distance, settling, swish
from ganger_trainer.failures import UserError
from unit.trainer import kit

BEYOND = Path(ganger_trainer.__file__).parents[1] / "examples" / "beyond"
MANIFESTS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(BEYOND.glob("*.yaml"))}
TASKS = sorted(name for name, manifest in MANIFESTS.items() if "task" in manifest["spec"])


def spec_of(name, directory=None, **config):
    """The only worker of an example, with some of its config changed."""
    manifest = MANIFESTS[name]
    spec = manifest["spec"] | {"workers": 1, "config": manifest["spec"]["config"] | config}
    filled = job(name=name, **spec)
    where = str(directory) if directory else None
    return environment.read(worker_environment(filled, 0, 0, rendezvous_host="x", checkpoint_dir=where))


def train(name, directory=None, **config):
    """Train an example to its end; return what its last evaluation measured."""
    done, metrics = worker._train(spec_of(name, directory, **config), kit.ToBoard())
    assert done
    return metrics


def test_every_example_has_its_page():
    page = (BEYOND / "README.md").read_text()

    assert ["accumulate", "averaged", "distance", "recompute", "settling", "swish"] == TASKS
    assert ["lr-finder"] == sorted(MANIFESTS.keys() - set(TASKS))
    for name in MANIFESTS:
        assert f"{name}.yaml" in page
        assert name == MANIFESTS[name]["metadata"]["name"]


@pytest.mark.parametrize("name", TASKS)
def test_every_example_has_a_config_that_its_task_takes(name):
    spec = spec_of(name)

    assert config.decode(spec.config_json, task.config_class(task.load(spec.task))).threads == 1


# --- gradients of gradients ---


def test_a_loss_that_holds_a_gradient_learns_the_distance_to_the_circle():
    metrics = train("distance")

    assert metrics["error"] < 0.02, "it was never shown a distance"
    assert metrics["curvature"] > 0


def test_a_product_with_the_hessian_is_that_of_the_matrix_itself():
    model = nn.Sequential(nn.Linear(2, 3), nn.Softplus(), nn.Linear(3, 1)).double()
    x_N2 = torch.randn(20, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))  # noqa: N806
    parameters = list(model.parameters())
    sizes = [p.numel() for p in parameters]

    def loss(flat):
        parts = [part.view_as(p) for part, p in zip(flat.split(sizes), parameters, strict=True)]
        named = dict(zip(dict(model.named_parameters()), parts, strict=True))
        return torch.func.functional_call(model, named, (x_N2,)).square().mean()

    flat = torch.cat([p.detach().flatten() for p in parameters])
    matrix = torch.autograd.functional.hessian(loss, flat)
    vector = torch.randn(len(flat), dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    gradient = torch.autograd.grad(model(x_N2).square().mean(), parameters, create_graph=True)
    parts = [part.view_as(p) for part, p in zip(vector.split(sizes), parameters, strict=True)]

    product = torch.cat([part.flatten() for part in distance.hessian_product(gradient, parameters, parts)])

    torch.testing.assert_close(matrix @ vector, product)
    largest = torch.linalg.eigvalsh(matrix).abs().max().item()
    assert pytest.approx(largest, rel=0.05) == abs(distance.curvature(model(x_N2).square().mean(), model))


def test_an_evaluation_in_inference_mode_may_ask_for_gradients_and_leaves_none_behind():
    found = distance.Distance()
    settings = found.Config(seed=1)
    model = found.model(settings)

    with torch.inference_mode():
        measured = found.evaluate(model, settings)
        assert torch.is_inference_mode_enabled()

    assert {"error", "curvature"} == measured.keys()
    assert [None] * 6 == [p.grad for p in model.parameters()]


# --- a gradient of your own ---


def test_swish_has_the_value_and_the_gradients_of_torchs_operations():
    x = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    beta = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    mine = swish.Swish.apply(x, beta)
    plain = x * torch.sigmoid(beta * x)

    torch.testing.assert_close(plain, mine)
    torch.testing.assert_close(
        torch.autograd.grad(plain.sin().sum(), (x, beta)), torch.autograd.grad(mine.sin().sum(), (x, beta))
    )


def test_swish_keeps_its_input_alone():
    x, beta = torch.randn(64, 64, requires_grad=True), torch.tensor(1.0, requires_grad=True)

    def kept(make):
        storages = {}
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t: storages.setdefault(t.data_ptr(), t.nbytes) and t, lambda t: t
        ):
            result = make()
        assert result.requires_grad
        return sum(storages.values()) // x.nbytes

    assert 1 == kept(lambda: swish.Swish.apply(x, beta))
    assert 2 == kept(lambda: x * torch.sigmoid(beta * x)), "x, and what sigmoid returned"


def test_a_wrong_backward_trains_nothing(monkeypatch):
    monkeypatch.setattr(swish.Swish, "backward", staticmethod(lambda ctx, gradient: (gradient, gradient.sum())))

    with pytest.raises(GradcheckError, match="Jacobian mismatch"):
        train("swish")


def test_a_second_derivative_of_swish_is_refused_and_not_wrong():
    x = torch.randn(3, requires_grad=True)
    squares = swish.Swish.apply(x, torch.tensor(1.0)).square()
    (slope,) = torch.autograd.grad(squares.sum(), x, create_graph=True)

    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


def test_swish_trains(capsys):
    assert train("swish")["accuracy"] > 0.93
    assert "the gradients of Swish agree with its values" in capsys.readouterr().out


# --- memory for computation ---


def peak_bytes(step):
    """The most bytes that tensors held at one time during `step`, by what the allocator told the profiler."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        step()
    held = most = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most


def test_activation_checkpointing_gives_the_same_bits_for_less_memory():
    def one(recompute):
        settings = chargpt.CharGpt.Config(layers=4, dropout=0.1, recompute=recompute)
        randomness.seed_all(3)
        found = chargpt.CharGpt()
        model = found.model(settings)
        batch = found.data(settings).batch(torch.arange(0, 1600, 100))
        loss = []
        most = peak_bytes(lambda: loss.append(found.loss(model, batch)) or loss[0].backward())
        return most, loss[0].item(), [p.grad for p in model.parameters()]

    kept, loss, gradients = one(recompute=False)
    recomputed, same, again = one(recompute=True)

    assert loss == same
    assert all(torch.equal(a, b) for a, b in zip(gradients, again, strict=True))
    assert recomputed < 0.6 * kept, (recomputed, kept)


def test_accumulation_trains_as_the_whole_batch_does():
    pieces, whole = train("accumulate", epochs=3), train("accumulate", epochs=3, microBatch=None)

    assert whole == {name: pytest.approx(value, rel=1e-3) for name, value in pieces.items()}


# --- control flow ---


@pytest.fixture
def compiled(monkeypatch):
    """torch.compile without the C++ that it writes, which takes 20 s: its graphs run with torch's operations."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    monkeypatch.setattr(compiler, "require", lambda *_: None)
    yield torch._dynamo.utils.counters
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()


def test_a_loop_that_asks_a_tensor_is_compiled_around_and_trains_the_same(compiled, capsys):
    def losses():
        train("settling", epochs=2, logEverySeconds=1e-9)
        return [float(line.split(" loss ")[1].split()[0]) for line in capsys.readouterr().out.splitlines() if
                line.startswith("step ")]  # fmt: skip

    eager = losses()
    assert 0 == compiled["stats"]["unique_graphs"]
    found = MANIFESTS["settling"]["spec"]["config"]
    spec = spec_of("settling", epochs=2, logEverySeconds=1e-9, compile=True)
    worker._train(spec, kit.ToBoard())
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("step ")]

    assert 46 == len(lines) == len(eager), found
    assert eager == [pytest.approx(float(line.split(" loss ")[1].split()[0]), abs=2e-3) for line in lines]
    assert compiled["stats"]["unique_graphs"] > 0, "the block was compiled"


def test_how_often_the_block_runs_depends_on_the_data():
    torch.manual_seed(0)
    model = settling.Settling(32, tolerance=0.02, rounds=12)
    taken = []
    for scale in (1.0, 10.0):  # large inputs saturate: such a state settles at once
        model(torch.randn(8, 64) * scale)
        taken.append(model.taken)

    assert 12 > taken[0] > taken[1] >= 1


@pytest.mark.parametrize("device, wanted", [("cpu", r"g\+\+"), ("cuda", "gcc and python3-dev")])
def test_an_image_without_a_compiler_is_told_before_the_first_step(device, wanted, tmp_path):
    with pytest.raises(UserError, match=f"compile needs {wanted}") as raised:
        compiler.require({"PATH": str(tmp_path)}, device)

    assert "LibraryMissing" == raised.value.reason
    for name in ("g++", "gcc"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    compiler.require({"PATH": str(tmp_path)}, "cpu")


def test_a_job_that_asks_to_compile_asks_for_the_compiler(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(UserError, match="set compile: false"):
        train("settling", compile=True)


# --- two sets of weights ---


def test_the_average_is_what_the_formula_says_and_answers_in_eval_mode_alone():
    randomness.seed_all(0)
    found = averaged.AveragedDigits()
    settings = found.Config(lr=0.1, decay=0.9)
    model = found.model(settings)
    optimizer = found.optimizer(model, settings)
    x_BF, y_B = (part[:32] for part in found.data(settings))  # noqa: N806
    expected = None
    for _ in range(5):
        found.loss(model, (x_BF, y_B)).backward()
        optimizer.step()
        optimizer.zero_grad()
        now = [p.detach().clone() for p in model.net.parameters()]
        expected = now if expected is None else [0.9 * a + 0.1 * b for a, b in zip(expected, now, strict=True)]

    torch.testing.assert_close(expected, [p.detach() for p in model.average.module.parameters()])
    assert not any(p.requires_grad for p in model.average.parameters())
    with torch.no_grad():
        assert torch.equal(model.net(x_BF), model(x_BF))
        model.eval()
        assert torch.equal(model.average(x_BF), model(x_BF))
        assert not torch.equal(model.net(x_BF), model(x_BF))


def test_the_average_is_evaluated_without_gradients_is_kept_and_resumes_to_the_same_bytes(tmp_path, monkeypatch):
    modes = []

    class Crashing(averaged.AveragedDigits):
        crash_at, steps = 0, 0

        def loss(self, model, batch):
            self.steps += 1
            if self.steps == self.crash_at:
                raise KeyboardInterrupt
            return super().loss(model, batch)

        def evaluate(self, model, config):
            modes.append((torch.is_inference_mode_enabled(), torch.is_grad_enabled(), model.training))
            return super().evaluate(model, config)

    module = types.ModuleType("beyond_task")
    monkeypatch.setitem(sys.modules, "beyond_task", module)

    def run(name, attempt=0, crash_at=0):
        module.task = Crashing()
        module.task.crash_at = crash_at
        spec = spec_of("averaged", tmp_path / name, epochs=1)
        changed = {"task": "beyond_task:task", "attempt": attempt, "checkpoint": kit.worker(every_steps=10).checkpoint}
        return worker._train(msgspec.structs.replace(spec, **changed), kit.ToBoard())

    _, metrics = run("whole")
    with pytest.raises(KeyboardInterrupt):
        run("broken", crash_at=25)
    run("broken", attempt=1)

    assert (True, False, False) == modes[0]
    assert {"accuracy", "loss", "raw_loss"} == metrics.keys()
    last = max(kit.steps_in(tmp_path / "whole"))
    whole, broken = (kit.shard_of(tmp_path / name, last).read_bytes() for name in ("whole", "broken"))
    assert whole == broken
    assert b"model/average.module.0.weight" in whole


def test_the_average_beats_the_weights_that_it_follows():
    metrics = train("averaged")

    assert metrics["loss"] < metrics["raw_loss"]
    assert metrics["accuracy"] > 0.96


# --- a rate to begin with ---


def curve(loss_of):
    return [lr_finder.Trial(10 ** (i / 10 - 6), loss_of(i)) for i in range(60)]


def test_the_rate_of_the_steepest_fall_is_suggested():
    found = lr_finder.suggestion(curve(lambda i: 2.0 - (0.05 * (i - 30) if 30 <= i < 40 else 0.5 if i >= 40 else 0.0)))

    assert 10 ** (30 / 10 - 6) <= found <= 10 ** (40 / 10 - 6)


@pytest.mark.parametrize("trials", [[], curve(lambda _: 2.0), curve(lambda i: 2.0 + i), curve(float)[:5]])
def test_without_a_fall_there_is_no_suggestion(trials):
    assert lr_finder.suggestion(trials) is None


def test_the_finder_suggests_for_the_digits_what_trains_them(capsys):
    words = MANIFESTS["lr-finder"]["spec"]["command"]
    assert ["python", "-m", "ganger_trainer.lr_finder"] == words[:3]

    assert 0 == lr_finder.main(words[3:])

    said = capsys.readouterr().out.splitlines()
    rate = float(said[-1].split("suggested: lr ")[1].split(",")[0])
    assert 1e-3 <= rate <= 2e-2
    assert train("accumulate", lr=rate, microBatch=None)["accuracy"] > 0.95


@pytest.mark.parametrize(
    "words, code, said",
    [
        (["nowhere:task"], 78, "there is no module 'nowhere'"),
        (["ganger_trainer.examples.digits:task", "--config", '{"lrr": 1}'], 78, "did you mean 'lr'?"),
        (["ganger_trainer.examples.digits:task", "--low", "1", "--high", "0.1"], 78, "--low 1.0 must be above 0"),
        (["ganger_trainer.examples.digits:task", "--high", "1e-9", "--low", "1e-10"], 1, "the loss never fell"),
    ],
)
def test_the_finder_says_what_is_wrong_in_a_sentence(words, code, said, capsys):
    assert code == lr_finder.main([*words, "--steps", "30"])
    assert said in capsys.readouterr().out
