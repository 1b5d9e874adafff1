"""A sound manifest as text with something odd in it: what YAML lets people write, and what editors and networks do."""

import json
import random
from collections.abc import Callable

import yaml

from fuzz.sound import Manifest

Quirk = Callable[[random.Random, str], str | bytes]


def dumped(job: Manifest) -> str:
    """The job as people have it in a file."""
    return yaml.safe_dump(job, sort_keys=False, allow_unicode=True)


def _line(draw: random.Random, text: str, change: Callable[[str], str]) -> str:
    lines = text.splitlines(keepends=True)
    at = draw.randrange(len(lines))
    return "".join((*lines[:at], change(lines[at]), *lines[at + 1 :]))


def _field(line: str) -> Quirk:
    """A field of the spec as the last line of it."""
    return lambda draw, text: f"{text}  {line}\n"


def _bytes(change: Callable[[random.Random, bytearray], None]) -> Quirk:
    def quirk(draw: random.Random, text: str) -> bytes:
        data = bytearray(text.encode())
        for _ in range(draw.randint(1, 4)):
            change(draw, data)
        return bytes(data)

    return quirk


def _put(draw: random.Random, data: bytearray) -> None:
    data[draw.randrange(len(data))] = draw.randrange(256)


def _drop(draw: random.Random, data: bytearray) -> None:
    at = draw.randrange(len(data))
    del data[at : at + draw.randint(1, 8)]
    data += b" "


def _insert(draw: random.Random, data: bytearray) -> None:
    at = draw.randrange(len(data))
    data[at:at] = draw.choice(
        [b"\0", b"\t", b"\r", b"&a ", b"*a", b"!x ", b"{", b"]", b"'", b"\xff", b": ", b"- ", b"\n"]
    )


NUMBERS = ("1e3", "010", "0x10", "1_0", "2.0", "+7", "1.", ".5e1", "0o17", "1:30", "9" * 25, "1e999", ".inf", "-0")
PAIRS = (r'"\ud83d\ude00"', r'"\ud83d"', r'"\U0001F600"', r"'\ud83d\ude00'", r'"\/"', r'"\x00"', r'"\ud83d\u0041"')
QUIRKS: dict[str, Quirk] = {
    "as it is": lambda draw, text: text,
    "byte order mark": lambda draw, text: "\ufeff" + text,
    "UTF-16": lambda draw, text: text.encode("utf-16"),
    "UTF-16 without mark": lambda draw, text: text.encode("utf-16-le"),
    "Latin-1": lambda draw, text: text.encode("latin-1", "replace") + b"# \xe9\n",
    "CRLF": lambda draw, text: text.replace("\n", "\r\n"),
    "CR alone": lambda draw, text: text.replace("\n", "\r"),
    "no line feed at the end": lambda draw, text: text.rstrip("\n"),
    "trailing spaces": lambda draw, text: text.replace("\n", "  \n"),
    "tab": lambda draw, text: _line(draw, text, lambda line: "\t" + line),
    "line twice": lambda draw, text: _line(draw, text, lambda line: line * 2),
    "line lost": lambda draw, text: _line(draw, text, lambda line: ""),
    "line deeper": lambda draw, text: _line(draw, text, lambda line: "  " + line),
    "cut off": lambda draw, text: text[: draw.randrange(len(text))],
    "key twice": _field("suspend: true\n  suspend: true"),
    "norway": lambda draw, text: _field(
        f"suspend: {draw.choice(['yes', 'NO', 'on', 'off', 'y', 'N', 'True', 'tRue'])}"
    )(draw, text),
    "number": lambda draw, text: _field(f"activeDeadlineSeconds: {draw.choice(NUMBERS)}")(draw, text),
    "empty value": _field(""),
    "null words": lambda draw, text: _field(
        f"priorityClassName: {draw.choice(['~', 'null', 'Null', 'NULL', '', '!!null'])}"
    )(draw, text),
    "quoted number": _field('activeDeadlineSeconds: "7"'),
    "anchor": _field("nodeSelector: &a {x: b}"),
    "alias": _field("nodeSelector: &a {x: b}\n  config: *a"),
    "alias of itself": _field("config: &a {x: *a}"),
    "merge": _field("config:\n    <<: {x: 1}"),
    "tag": lambda draw, text: _field(
        f"priorityClassName: {draw.choice(['!!str a', '!a b', '! a', '!!python/name:os.system', '!!binary YQ=='])}"
    )(draw, text),
    "block text": _field("priorityClassName: >-\n    batch\n"),
    "odd break": lambda draw, text: _line(
        draw, text, lambda line: line.rstrip("\n") + draw.choice("\x85\u2028\u2029\x0b\x0c") + "\n"
    ),
    "two documents": lambda draw, text: f"{text}---\n{text}",
    "empty documents": lambda draw, text: f"---\n---\n{text}...\n---\n",
    "beside another kind": lambda draw, text: f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\n---\n{text}",
    "text after the end": lambda draw, text: f"{text}...\nx",
    "directive": lambda draw, text: f"%YAML {draw.choice(['1.1', '1.2', '3.0'])}\n---\n{text}",
    "comments": lambda draw, text: text.replace("\n", " # \u00e9\n"),
    "escapes": lambda draw, text: _field(f"config: {{a: {draw.choice(PAIRS)}}}")(draw, text),
    "JSON with escapes": lambda draw, text: json.dumps(
        yaml.safe_load(text) | {"spec": {"task": "m:t", "config": {"a": "\U0001f600\n"}}}
    ),
    "deep": _field("config: " + "{a: " * 70 + "1" + "}" * 70),
    "deep lists": _field("config: {a: " + "[" * 3000 + "]" * 3000 + "}"),
    "bytes changed": _bytes(_put),
    "bytes lost": _bytes(_drop),
    "bytes between": _bytes(_insert),
}


def twist(draw: random.Random, job: Manifest) -> tuple[str, bytes]:
    """Return the name of a quirk, and the job as text that has it."""
    name = draw.choice(sorted(QUIRKS))
    text = QUIRKS[name](draw, dumped(job))
    return name, text.encode() if isinstance(text, str) else text
