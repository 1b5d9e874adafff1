"""What must not leave in a report: secrets in objects and in texts, known by name, by form or by value. Pure.

A name that sounds like a secret hides its value; what was hidden so is hidden wherever else it stands.
"""

import re
from collections.abc import Iterable
from typing import Any

HIDDEN = "<redacted>"
_WORDS = (
    r"pass(?:word|wd|phrase)?|pwd|secret|token|credentials?|api[-_]?key|access[-_]?key|private[-_]?key|signing[-_]?key"
    r"|encryption[-_]?key|auth|authorization|cookie|dsn|connection[-_]?string|webhook[-_]?url"
)
_NAME = re.compile(rf"(?:^|[-_./])(?:{_WORDS})(?:$|[-_./])")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_JOINED = re.compile(r"passw|secret|apikey|token$")  # PGPASSWORD, mysecretvalue, HFTOKEN
_PLACES = ("GANGER_", "KUBEFLOW_TRAINER_SERVER_")  # files with a token, and who made it so: never the token
_ANNOTATIONS = ("kubectl.kubernetes.io/last-applied-configuration",)  # the whole manifest again, as one text
_SHORTEST = 6  # of a value that is looked for elsewhere: shorter ones stand everywhere by chance

_ASSIGNED = re.compile(
    rf"""(?ix) (?P<name> (?:{_WORDS}) \b ["']? [ \t]* [:=] [ \t]* | (?<![\w-]) --? [\w-]{{0,40}} (?:{_WORDS}) [ \t]+ )
    (?: (?P<quote> ["'] ) .*? (?<!\\) (?P=quote) | (?: (?:bearer|basic) [ \t]+ )? [^\s"',;&}}\]]+ )"""
)
_FORMS = tuple(
    re.compile(pattern)
    for pattern in (
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
        r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.?[A-Za-z0-9_-]*",  # a JWT: every token of a service account
        r"(?i)\b(?:bearer|basic) [A-Za-z0-9._~+/=-]{8,}",
        r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
        r"\b(?:hf_|gh[pousr]_|github_pat_|glpat-|sk-|xox[abprs]-|npm_|pypi-|dop_v1_)[A-Za-z0-9_-]{16,}",
        r"\bAIza[A-Za-z0-9_-]{30,}",
    )
)
_IN_URL = re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)")
_SIGNED = re.compile(r"(?i)([?&](?:x-amz-(?:signature|credential|security-token)|sig|signature|token|key)=)[^&\s\"']+")


def is_secret(name: str) -> bool:
    """Whether a variable, setting or annotation of that name may hold a secret."""
    if name.startswith(_PLACES):
        return False
    lower = _CAMEL.sub("_", name).lower()
    return _NAME.search(lower) is not None or _JOINED.search(lower) is not None


class Redactor:
    """Hides secrets, and remembers their values. Objects go first, so that texts are searched for what they held."""

    def __init__(self) -> None:
        self._values: set[str] = set()

    def learn(self, values: Iterable[str]) -> None:
        """Take values that are to be hidden wherever they stand."""
        self._values |= {value for value in values if len(value) >= _SHORTEST}

    def manifest(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Return an object without managedFields and without what may be a secret."""
        self._look(manifest)
        hidden: dict[str, Any] = self._hide(manifest)
        return hidden

    def text(self, text: str) -> str:
        """Return a text, of one line or many, without what may be a secret."""
        for form in _FORMS:
            text = (form if "PRIVATE" not in form.pattern else re.compile(form.pattern, re.DOTALL)).sub(HIDDEN, text)
        text = _SIGNED.sub(rf"\1{HIDDEN}", _IN_URL.sub(HIDDEN, text))
        text = _ASSIGNED.sub(lambda match: match["name"] + HIDDEN, text)
        for value in sorted(self._values, key=len, reverse=True):
            text = text.replace(value, HIDDEN)
        return text

    def _look(self, value: Any, name: str = "") -> None:
        """Remember the values that stand under a name of a secret."""
        if isinstance(value, dict):
            if isinstance(value.get("name"), str) and isinstance(value.get("value"), str):
                self._look(value["value"], value["name"])
            for key, inner in value.items():
                self._look(inner, str(key))
        elif isinstance(value, list):
            for before, inner in zip([None, *value], value, strict=False):
                self._look(inner, name if not _is_option(before) else str(before).lstrip("-"))
        elif isinstance(value, str) and is_secret(name):
            self.learn([value])

    def _hide(self, value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            own = value.get("name") if isinstance(value.get("value"), str) else None
            return {
                key: self._hide(inner, str(own) if key == "value" and isinstance(own, str) else str(key))
                for key, inner in value.items()
                if key not in ("managedFields", *_ANNOTATIONS)
            }
        if isinstance(value, list):
            names = [str(before).lstrip("-") if _is_option(before) else name for before in [None, *value]]
            return [self._hide(inner, named) for inner, named in zip(value, names, strict=False)]
        if isinstance(value, str):
            return HIDDEN if is_secret(name) and not _is_reference(name) else self.text(value)
        return HIDDEN if is_secret(name) and isinstance(value, int | float) and not isinstance(value, bool) else value


def _is_option(word: Any) -> bool:
    return isinstance(word, str) and word.startswith("-") and "=" not in word and is_secret(word.lstrip("-"))


def _is_reference(key: str) -> bool:
    """Whether a key of the API names a secret without holding it, as secretName does."""
    return key in ("secretName", "secret", "imagePullSecrets")
