"""What the turns of a run say: the promised figures, and the tables of the page. Values only: nothing is measured."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from bench import ratios
from bench.subjects import FLOOR, GANGER, SUBJECTS, TRAINER

MAIN_SETTING, MAIN_SIZE = "tuned", "200x8"
ROUNDS_MIN, TRIALS_MIN = 3, 10  # a run with fewer prints its tables and promises nothing


class Turn(Struct, frozen=True, kw_only=True):
    """One turn of one subject.

    kind: `burst`, `latency`, `loaded` or `failures`, as in `bench.turns`. size: as `200x8`, "" where there is only one.
    result: what was measured; {} where it could not be, and why is in `error`.
    """

    setting: str
    kind: str
    size: str = ""
    round: int = 0
    subject: str
    result: dict[str, Any] = {}
    error: str = ""
    commit: str = ""


class Rounds:
    """The bursts of one setting and size, without the rounds whose floor was uneven."""

    def __init__(self, turns: Iterable[Turn], setting: str, size: str) -> None:
        chosen = [t for t in turns if (t.kind, t.setting, t.size) == ("burst", setting, size) and t.result]
        every: dict[int, dict[str, dict[str, Any]]] = {}
        for turn in chosen:
            every.setdefault(turn.round, {})[turn.subject] = turn.result
        floors = {number: one[FLOOR.name]["runningSeconds"] for number, one in every.items() if FLOOR.name in one}
        even = dict(zip(floors, ratios.even(list(floors.values())), strict=True))
        self.uneven = sorted(number for number, good in even.items() if not good)
        self._rounds = [one for number, one in sorted(every.items()) if even.get(number, True)]

    def of(self, subject: str, figure: str) -> list[float]:
        """Return that figure in each round in which the subject has it."""
        found = (_figure(one.get(subject, {}), figure) for one in self._rounds)
        return [each for each in found if each is not None]

    def median(self, subject: str, figure: str) -> float | None:
        """Return its median; None where there is none."""
        found = self.of(subject, figure)
        return statistics.median(found) if found else None

    def ratio(self, figure: str, of: str, to: str) -> ratios.Ratio | None:
        """Return the ratio of the rounds that have both; None where none has."""
        pairs = [(_figure(one.get(of, {}), figure), _figure(one.get(to, {}), figure)) for one in self._rounds]
        whole = [(mine, theirs) for mine, theirs in pairs if mine is not None and theirs]
        return ratios.ratio([mine for mine, _ in whole], [theirs for _, theirs in whole]) if whole else None


def figures(turns: Sequence[Turn]) -> tuple[dict[str, float | None], dict[str, str]]:
    """Return the figures of `control_plane` that this run can tell, and for each that is None the reason."""
    rounds = Rounds(turns, MAIN_SETTING, MAIN_SIZE)
    asked = {
        "create_speedup_vs_trainer": ("createdSeconds", TRAINER.name, GANGER.name),
        "share_of_floor": ("runningSeconds", FLOOR.name, GANGER.name),
        "added_requests_ratio_vs_trainer": ("controllerRequestsPerJob", TRAINER.name, GANGER.name),
        "cpu_per_pod_ratio_vs_floor": ("planeCpuSeconds", GANGER.name, FLOOR.name),
        "writes_ratio_vs_trainer": ("controllerWritesPerJob", TRAINER.name, GANGER.name),
        "cpu_seconds_ratio_vs_trainer": ("controllerCpuSeconds", TRAINER.name, GANGER.name),
    }
    found: dict[str, float | None] = {}
    for name, (figure, of, to) in asked.items():
        ratio = rounds.ratio(figure, of, to)
        found[name] = round(ratio.median, 3) if ratio is not None and ratio.rounds >= ROUNDS_MIN else None
    found["writes_per_job"] = _greatest(rounds.of(GANGER.name, "ownWritesPerJob"))
    found["idle_writes_per_minute"] = _greatest(rounds.of(GANGER.name, "idleWritesPerMinute"))
    failed = _only(turns, "failures", MAIN_SETTING, GANGER.name).get("replacementSeconds", [])
    found["failure_to_replacement_p50_seconds"] = _percentile(failed, 50) if len(failed) >= TRIALS_MIN else None
    of_main = [turn for turn in turns if turn.size == MAIN_SIZE]
    loaded = _only(of_main, "loaded", MAIN_SETTING, GANGER.name).get("firstPodSeconds", [])
    found["reconcile_p99_seconds"] = _percentile(loaded, 99)
    missing = [name for name, value in found.items() if value is None]
    return found, {name: _why(turns, name) for name in missing}


def tables(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """Return the tables of the page."""
    made = []
    for setting, size in dict.fromkeys((t.setting, t.size) for t in turns if t.kind == "burst"):
        made.append(_burst(turns, setting, size))
    for setting in dict.fromkeys(t.setting for t in turns):
        of = [t for t in turns if t.setting == setting]
        made += [_waits(of, setting)] if any(t.kind in ("latency", "loaded") for t in of) else []
        made += [_failed(of, setting)] if any(t.kind == "failures" for t in of) else []
        made += [_grown(of, setting)] if len({_num_jobs(t.size) for t in of if t.kind == "burst"}) > 1 else []
    return [*made, *_requests(turns)]


def _burst(turns: Sequence[Turn], setting: str, size: str) -> dict[str, Any]:
    rounds = Rounds(turns, setting, size)
    jobs, pods = (int(part) for part in size.split("x"))
    rows = []
    for name in _subjects(turns, setting, size):
        cpu = rounds.median(name, "planeCpuSeconds")
        rows.append([
            SUBJECTS[name].title, rounds.median(name, "createdSeconds"), rounds.median(name, "runningSeconds"),
            rounds.median(name, "completeSeconds"), _words(rounds.ratio("runningSeconds", FLOOR.name, name)),
            _words(rounds.ratio("createdSeconds", name, GANGER.name)), rounds.median(name, "controllerRequestsPerJob"),
            rounds.median(name, "controllerWritesPerJob"), rounds.median(name, "toTheEnd.controllerRequestsPerJob"),
            1000 * cpu / (jobs * pods) if cpu is not None else None, rounds.median(name, "controllerCpuSeconds"),
            rounds.median(name, "rssMiB"),
        ])  # fmt: skip
    columns = [
        "", "all created, s", "all Running, s", "then all Complete, s", "share of the floor", "created, times Ganger's",
        "controllers' requests a job", "of these writes", "requests a job from Running to Complete",
        "CPU ms a pod, control plane", "CPU s, controllers", "peak MiB, controllers",
    ]  # fmt: skip
    notes = [f"Medians; ratios are medians of rounds with a 95 % bootstrap interval. Limits of clients: {setting}."]
    if rounds.uneven:
        notes.append(f"Left out, the floor was off by more than 30 %: rounds {', '.join(map(str, rounds.uneven))}.")
    notes += _troubles(t for t in turns if (t.kind, t.setting, t.size) == ("burst", setting, size))
    title = f"{jobs} jobs x {pods} pods, {'raised limits' if setting == MAIN_SETTING else setting}"
    return {"title": title, "columns": columns, "rows": rows, "note": " ".join(notes)}


def _waits(turns: Sequence[Turn], setting: str) -> dict[str, Any]:
    rows = []
    for name in _subjects(turns, setting):
        idle, busy = _only(turns, "latency", setting, name), _only(turns, "loaded", setting, name)
        row: list[Any] = [SUBJECTS[name].title]
        for result in (idle, busy):
            row.append(len(result.get("firstPodSeconds", [])) or None)
            for figure in ("firstPodSeconds", "runningSeconds"):
                row += [_milli(_percentile(result.get(figure, []), percent)) for percent in (50, 99)]
        rows.append(row)
    parts = ("first pod, p50 ms", "p99", "all Running, p50 ms", "p99")
    columns = ["", "idle: n", *parts, "under load: n", *parts]
    notes = ["A job of 4 pods is submitted; under load while a burst is on its way.", *_troubles(
        t for t in turns if t.kind in ("latency", "loaded"))]  # fmt: skip
    return {"title": f"Submit to pods, {setting}", "columns": columns, "rows": rows, "note": " ".join(notes)}


def _failed(turns: Sequence[Turn], setting: str) -> dict[str, Any]:
    rows = []
    for name in _subjects(turns, setting):
        result = _only(turns, "failures", setting, name)
        if name != FLOOR.name:
            made = [each for each in result.get("podsMade", []) if each is not None]
            rows.append([
                SUBJECTS[name].title, len(made) or None, _percentile(result.get("replacementSeconds", []), 50),
                _percentile(result.get("replacementSeconds", []), 99), _percentile(result.get("wholeSeconds", []), 50),
                statistics.median(made) if made else None,
            ])  # fmt: skip
    columns = ["", "n", "replacement exists, p50 s", "p99 s", "all 4 Running, p50 s", "pods made"]
    notes = ["One of 4 pods is marked Failed, the first failure of its job.", *_troubles(
        t for t in turns if t.kind == "failures")]  # fmt: skip
    return {"title": f"Failure to replacement, {setting}", "columns": columns, "rows": rows, "note": " ".join(notes)}


def _grown(turns: Sequence[Turn], setting: str) -> dict[str, Any]:
    rows = []
    sizes = {t.size for t in turns if t.kind == "burst"}
    for pods in sorted({size.split("x")[1] for size in sizes}, key=int):
        of = sorted((size for size in sizes if size.split("x")[1] == pods), key=_num_jobs)
        for name in _subjects(turns, setting) if len(of) > 1 else ():
            costs = [Rounds(turns, setting, size).median(name, "runningSeconds") for size in of]
            told = [(_num_jobs(size), cost) for size, cost in zip(of, costs, strict=True) if cost is not None]
            grows = ratios.exponent([n for n, _ in told], [c for _, c in told]) if len(told) > 1 else None
            rows.append([SUBJECTS[name].title, ", ".join(of), grows])
    note = "b of seconds to all Running = a * jobs^b."
    return {"title": f"Growth, {setting}", "columns": ["", "sizes", "exponent"], "rows": rows, "note": note}


def _requests(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """Who asked what for each job of the main size, in the last round of each subject."""
    last = {
        t.subject: t.result for t in turns
        if (t.kind, t.setting, t.size) == ("burst", MAIN_SETTING, MAIN_SIZE) and t.result
    }  # fmt: skip
    rows = [
        [SUBJECTS[name].title, words, count]
        for name, result in last.items()
        for words, count in sorted(result["requests"].items(), key=lambda item: -item[1])
        if count >= 0.05
    ]
    title = f"Requests of controllers for each job, {MAIN_SIZE}, raised limits"
    return [{"title": title, "columns": ["", "who: what", "for each job"], "rows": rows}] if rows else []


def _figure(result: Mapping[str, Any], figure: str) -> float | None:
    if figure == "rssMiB":
        peaks = result.get("rssPeakMiB", {})
        return round(sum(peaks.values()), 1) if peaks else None
    head, _, rest = figure.partition(".")
    value = result.get(head)
    return _figure(value or {}, rest) if rest else value


def _only(turns: Iterable[Turn], kind: str, setting: str, subject: str) -> dict[str, Any]:
    return next(
        (t.result for t in turns if (t.kind, t.setting, t.subject) == (kind, setting, subject) and t.result), {}
    )


def _subjects(turns: Iterable[Turn], setting: str, size: str | None = None) -> list[str]:
    there = {t.subject for t in turns if t.setting == setting and (size is None or t.size == size)}
    return [name for name in SUBJECTS if name in there]


def _percentile(values: Sequence[float | None], percent: float) -> float | None:
    """None where there are no values, or where it would be one that never came."""
    if not values:
        return None
    found = ratios.percentile([float("inf") if each is None else each for each in values], percent)
    return None if found == float("inf") else round(found, 4)


def _greatest(values: Sequence[float]) -> float | None:
    return round(max(values), 3) if values else None


def _milli(seconds: float | None) -> float | None:
    return None if seconds is None else round(1000 * seconds, 1)


def _words(ratio: ratios.Ratio | None) -> str | None:
    return None if ratio is None else ratio.words()


def _num_jobs(size: str) -> int:
    return int(size.split("x")[0]) if size else 0


def _troubles(turns: Iterable[Turn]) -> list[str]:
    told = {f"{SUBJECTS[t.subject].title}, {t.kind} {t.round}: {t.error}" for t in turns if t.error}
    return [f"Not measured: {'; '.join(sorted(told))}."] if told else []


def _why(turns: Sequence[Turn], name: str) -> str:
    errors = {f"{t.subject}: {t.error}" for t in turns if t.error and t.setting == MAIN_SETTING}
    if errors:
        return f"this run has no figure; {'; '.join(sorted(errors))}"
    needed = {
        "failure_to_replacement_p50_seconds": f"{TRIALS_MIN} failures that were followed by a new pod",
        "reconcile_p99_seconds": f"`loaded` with {MAIN_SIZE}",
    }.get(name, f"{ROUNDS_MIN} rounds of {MAIN_SIZE} with all that it takes")
    return f"the run had not {needed}, at raised limits"
