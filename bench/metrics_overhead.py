"""What the metrics of a pod cost the loop at steps of a millisecond: all of them and a scrape a second, or none.

The loop runs here; supervisor, /metrics and scraper are a second process, as in a pod. Turns of about a second
alternate: with pace, observer and reports, scraped when the turn begins and each second after; and the same loop with
neither. Every turn with metrics logs its first step, so there is a line a second and not one in five. The figure is the
median ratio of neighbouring turns, with a bootstrap interval of that median; once of wall time, and once of the CPU
time of the loop's process, which a busy machine disturbs less. Where it disturbs both, there is the sum of the parts:
the least time that pace (each step) and a line (each 5 s) took, over a step of a millisecond.

    PYTHONPATH=operator:jobs python -m bench.metrics_overhead
"""

import argparse
import contextlib
import io
import json
import multiprocessing
import os
import platform
import statistics
import threading
import time
import urllib.request

import torch

from bench import trainer_overhead as trainer
from ganger_trainer import loop
from ganger_trainer.board import Board
from ganger_trainer.endpoint import Endpoint
from ganger_trainer.metrics import Page
from ganger_trainer.nvml import Gpus
from ganger_trainer.pace import Pace
from ganger_trainer.reports import Listener, Sender

COMMAND = "PYTHONPATH=operator:jobs python -m bench.metrics_overhead"
GOAL = 1.005
BATCH, WIDTH = 256, 160
ROUNDS, STEPS = 100, 1024


class NoPace:
    """A pace that knows nothing: what the loop would be without metrics."""

    def __init__(self, *_, **__):
        pass

    def fetched(self):
        return False

    def backward(self):
        pass

    def update(self):
        pass

    def stepped(self, own, everyone):
        pass

    def resumed(self):
        pass

    def step_seconds(self):
        return 0.001  # what the agreement reckons with


class NoObserver:
    """Says nothing and measures nothing."""

    evaluate_every = 0

    def log(self, *_):
        raise AssertionError("this loop has no lines")

    def evaluate_last(self, _parts):
        pass

    def finished(self, _parts, _loss):
        pass


class Loop(trainer.Ours):
    """Our loop; `silent` runs it without pace, observer and reports, on the same tensors."""

    def silent(self, steps):
        heard, self.observer = self.observer, NoObserver()
        loop.Pace = NoPace
        try:
            self.run(steps)
        finally:
            self.observer, loop.Pace = heard, Pace


def pod(pipe):
    """The second process: hear reports, serve /metrics, and scrape it each second between "go" and "stop"."""
    board = Board()
    listener, gpus = Listener(board.hear), Gpus()
    gpus.start()
    endpoint = Endpoint(0, Page(board, attempt=0, job="bench", gpus=gpus.readings).render)
    going, ended = threading.Event(), threading.Event()
    scrapes = []

    def scrape():
        while going.wait() and not ended.is_set():
            with urllib.request.urlopen(f"http://127.0.0.1:{endpoint.port}/metrics", timeout=5) as reply:
                scrapes.append(len(reply.read()))
            time.sleep(1.0)

    threading.Thread(target=scrape, daemon=True).start()
    pipe.send(listener.path)
    before = time.process_time()
    while (word := pipe.recv()) != "end":
        (going.set if word == "go" else going.clear)()
    ended.set()
    pipe.send((len(scrapes), scrapes[-1], time.process_time() - before, bool(board.progress_by_rank())))


def timed(run, steps):
    """Return wall and CPU seconds of this process."""
    began, cpu = time.perf_counter(), time.process_time()
    run(steps)
    return time.perf_counter() - began, time.process_time() - cpu


def ratio(turns, kind):
    """Return the median of with / without and its interval; kind: 0 for wall, 1 for CPU time."""
    ratios = [mine[kind] / theirs[kind] for theirs, mine in zip(turns["without"], turns["with"], strict=True)]
    return statistics.median(ratios), trainer.interval(ratios)


def least(action, times):
    """Return the least seconds of `times` calls."""
    return min(timed(lambda _: action(), 1)[0] for _ in range(times))


def parts(ours):
    """Return the least microseconds of pace per step and of a log line, and what both are of a step of 1 ms."""
    pace, of = Pace(5.0), ours.parts
    pace.stepped(BATCH, BATCH)

    def thousand():
        for _ in range(1000):
            pace.fetched()
            pace.stepped(BATCH, BATCH)

    batch = of.feed.at(0).micros[0].batch
    loss = of.task.loss(of.module, batch)
    loss.backward()
    parameters = list(of.model.parameters())

    def line():
        norm = loop._gradient_norm(parameters, None, of.optimizer, None)  # noqa: SLF001 - part of a line
        with contextlib.redirect_stdout(io.StringIO()):
            ours.observer.log(of, pace, loss, norm, batch)

    each, line_seconds = least(thousand, 300) / 1000, least(line, 1000)
    share = (each + line_seconds * 0.001 / of.config.log_every_seconds) / 0.001
    return {"paceMicroseconds": 1e6 * each, "lineMicroseconds": 1e6 * line_seconds, "shareOfAMillisecond": share}


def measure(rounds: int = ROUNDS, steps: int = STEPS) -> dict:
    """Return ratio (with metrics / without), spread (its 95 % interval), the same of CPU time, the sum of the parts.

    seconds holds wall and CPU time of every turn. Takes about `rounds` * 2 s. Leaves torch at one thread.
    """
    torch.set_num_threads(1)
    data = torch.randn(trainer.SAMPLES, trainer.FEATURES), torch.randint(0, 10, (trainer.SAMPLES,))
    spawn = multiprocessing.get_context("spawn")
    pipe, end = spawn.Pipe()
    second = spawn.Process(target=pod, args=(end,), daemon=True)
    second.start()
    ours = Loop(data, Sender(pipe.recv()), batch=BATCH, width=WIDTH)
    turns: dict[str, list[tuple[float, float]]] = {"without": [], "with": []}
    ours.silent(steps)
    ours.run(steps)
    for number in range(rounds):
        for name in ("with", "without") if number % 2 else ("without", "with"):
            if name == "with":
                pipe.send("go")
                turns[name].append(timed(ours.run, steps))
                pipe.send("stop")
            else:
                turns[name].append(timed(ours.silent, steps))
    pipe.send("end")
    scrapes, page_bytes, second_cpu, heard = pipe.recv()
    second.join()
    assert heard, "no report arrived: these were not the metrics"
    assert scrapes >= rounds // 2, "the page was hardly read"
    (wall, wall_interval), (cpu, cpu_interval) = ratio(turns, 0), ratio(turns, 1)
    return {
        "name": "metrics_overhead",
        "keys": {"trainer": {"metrics_overhead_percent": 100 * (wall - 1)}},
        "ratio": wall,
        "spread": wall_interval,
        "cpuRatio": cpu,
        "cpuSpread": cpu_interval,
        "byParts": parts(ours),
        "goal": GOAL,
        "scrapes": scrapes,
        "pageBytes": page_bytes,
        "secondProcessCpuSeconds": round(second_cpu, 3),
        "seconds": turns,
        "steps": steps,
        "command": COMMAND,
        "machine": {"cpus": os.cpu_count(), "torch": torch.__version__, "python": platform.python_version()},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--steps", type=int, default=STEPS, help="steps per turn")
    options = parser.parse_args()
    result = measure(options.rounds, options.steps)
    result["seconds"] = {
        name: " wall, ".join(
            f"{1e6 * statistics.median(kind) / options.steps:.1f} us" for kind in zip(*turns, strict=True)
        )
        + " CPU per step"
        for name, turns in result["seconds"].items()
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
