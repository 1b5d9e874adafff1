"""What goes wrong, as data: a seed and rules, so that one YAML file is one run that can be repeated."""

import random
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

FAULTS = {
    "delay": "wait `seconds`, then go on",
    "drop_connection": "cut the connection; the server never hears of the request",
    "answer_lost": "let the server act, then cut the connection",
    "half_open": "accept, then say nothing; of a watch, after `lines` lines",
    "hold": "wait for the mark `until`; of a watch, hold the lines that `event` and `name` choose, and all after them",
    "hold_answer": "let the server act, and answer at the mark `until`",
    "status": "answer `code` as a Kubernetes Status, with Retry-After: `retry_after` if it is given",
    "html_502": "answer as a load balancer without servers",
    "empty_body": "answer 200 with nothing; a watch ends at once",
    "wrong_content_type": "call the server's answer text/html",
    "slow_body": "send the answer in eight parts over `seconds`",
    "serve_old": "answer lists as at the mark `frozen`, until the mark `until`; hold watches so long",
    "close": "end a watch after `seconds`",
    "torn_line": "cut the watch's first line in the middle, and send the next one after it",
    "dup_event": "send each line of a watch twice",
    "bookmark_only": "keep all lines of a watch back but bookmarks",
    "unknown_event": "put an event of a type that nobody knows before the first line",
    "error_event": "send an ERROR event with `code` before the first line, and end the watch",
}
WRITES = frozenset({"create", "update", "patch", "delete"})
STREAMING = frozenset({"close", "torn_line", "dup_event", "bookmark_only", "unknown_event", "error_event"})


@dataclass(kw_only=True)
class Rule:
    """One fault and whom it meets. Of the rules that match a request the first that fires is taken.

    verb: get, list, watch, create, update, patch or delete; or write for those that matter, leases and events left out.
    resource: a plural, with /status for the subresource.
    All three take `*`. skip: so many matching requests pass first. times: it fires so often, None without end.
    share: it fires by chance (from the plan's seed), this often of 1.
    """

    fault: str
    verb: str = "*"
    resource: str = "*"
    name: str = "*"
    skip: int = 0
    times: int | None = None
    share: float = 1.0
    seconds: float = 0.0
    code: int = 500
    retry_after: int | None = None
    lines: int = 0
    event: str = "*"
    until: str = ""
    frozen: str = ""
    fired: int = 0

    def __post_init__(self) -> None:
        assert self.fault in FAULTS, f"fault {self.fault!r}: must be one of {', '.join(FAULTS)}"
        assert self.until or self.fault not in ("hold", "hold_answer", "serve_old"), f"{self.fault} needs `until`"

    def matches(self, verb: str, resource: str, name: str) -> bool:
        """Whether the rule speaks of such a request. A watch has no name: there it chooses among the lines."""
        if self.verb == "write" and (verb not in WRITES or resource in ("leases", "events")):
            return False
        wanted = self.name if verb != "watch" else "*"
        pairs = ((verb, self.verb.replace("write", "*")), (resource, self.resource), (name, wanted))
        if self.fault in STREAMING and verb != "watch":
            return False
        return all(fnmatchcase(value, pattern) for value, pattern in pairs)


@dataclass
class Plan:
    """The rules of one run. `to_yaml` and `load` are each other's inverse."""

    rules: list[Rule] = field(default_factory=list)
    seed: int = 0

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)

    def choose(self, verb: str, resource: str, name: str) -> Rule | None:
        """Return the rule that this request meets, and count it."""
        for rule in self.rules:
            if not rule.matches(verb, resource, name):
                continue
            if rule.skip > 0:
                rule.skip -= 1
            elif (rule.times is None or rule.fired < rule.times) and self._chance.random() < rule.share:
                rule.fired += 1
                return rule
        return None

    def to_yaml(self) -> str:
        """Return the plan as a file's text."""
        plain = Rule(fault="delay")
        rules: list[dict[str, Any]] = [
            {key: value for key, value in vars(rule).items() if key != "fired" and value != getattr(plain, key)}
            | {"fault": rule.fault}
            for rule in self.rules
        ]
        return yaml.safe_dump({"seed": self.seed, "rules": rules}, sort_keys=False)


def load(path: Path) -> Plan:
    """Return the plan of a file. Raises TypeError or AssertionError for what is no rule."""
    content = yaml.safe_load(path.read_text())
    return Plan([Rule(**rule) for rule in content["rules"]], content["seed"])
