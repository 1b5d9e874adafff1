"""Replay recorded runs and ask at every mark when they will end: `make bench ONLY=eta`. The answers are repeatable.

The runs in `recorded/` are real ones of the trainer (`recorded/record.py`). An estimate is right when the end that was
recorded lies in its interval; its error is that of `expected`, relative to the time that was left.
"""

import json
import statistics
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ganger.plan import eta

RECORDED = Path(__file__).parent / "recorded"
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
QUARTERS = (0.25, 0.5, 0.75)


def at(seconds):
    return EPOCH + timedelta(seconds=seconds)


def replay(run):
    """Return (progress, covered, relative error, relative width of the interval) at each mark that has an estimate."""
    pace, answers = eta.Pace(), []
    for seconds, step, attempt in run["marks"]:
        pace = eta.observe(pace, at(seconds), step, attempt)
        said = eta.estimate(pace, step, run["totalSteps"], at(seconds))
        left = run["end"] - seconds
        if said is None or left <= 0:
            continue
        error = abs((said.expected - at(run["end"])).total_seconds()) / left
        width = (said.latest - said.earliest).total_seconds() / left
        answers.append((step / run["totalSteps"], said.earliest <= at(run["end"]) <= said.latest, error, width))
    return answers


def figures(runs):
    """Summarise the answers of some runs, in per cent; the quarters take each run's first mark after that progress."""
    answers = [answer for run in runs for answer in run]
    found = {
        "marks": len(answers),
        "coveragePercent": round(100 * statistics.mean(answer[1] for answer in answers), 1),
        "widthPercent": round(100 * statistics.median(answer[3] for answer in answers), 1),
    }
    for quarter in QUARTERS:
        firsts = [next(answer for answer in run if answer[0] >= quarter) for run in runs]
        found[f"errorPercentAt{quarter:.0%}".replace("%", "")] = round(100 * statistics.median(f[2] for f in firsts), 1)
    return found


def full():
    """A pace with as many marks as it may hold."""
    pace = eta.Pace()
    for number in range(eta.MARKS_MAX):
        pace = eta.observe(pace, at(5.0 * number + (number % 7)), 40 * number, 0)
    return pace


def cost(repeats=2000):
    """Return CPU microseconds of one observation and of one estimate with a full pace."""
    pace = full()
    began = time.process_time()
    for _ in range(repeats):
        eta.estimate(pace, pace.step, 1_000_000, at(1000))
    half = time.process_time()
    for _ in range(repeats):
        eta.observe(pace, at(1000), pace.step + 40, 0)
    return {
        "estimateMicroseconds": round(1e6 * (half - began) / repeats),
        "observeMicroseconds": round(1e6 * (time.process_time() - half) / repeats),
    }


def measure() -> dict:
    """Return figures per run and over all marks of all runs, and the cost of an answer."""
    runs = {path.stem: json.loads(path.read_text()) for path in sorted(RECORDED.glob("*.json"))}
    answers = {name: replay(run) for name, run in runs.items()}
    result = {name: figures([each]) for name, each in answers.items()}
    return result | {"all": figures(list(answers.values()))} | cost()
