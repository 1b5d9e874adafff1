"""Case K of seed N: always the same one, whatever ran before it."""

import json
import random
from dataclasses import dataclass

from fuzz import contradictions, mistakes, sound, texts, transitions
from fuzz.sound import Manifest

KINDS = ("sound", "drawn", "mistake", "mistake", "mistake", "contradiction", "text", "text", "transition", "transition")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One manifest, or a way from one to another.

    text: the manifest as a file. manifest: the same as a value, None where the text is what is odd. path, refused: of
    a mistake. before: the manifest from which the way begins.
    """

    seed: int
    number: int
    kind: str
    what: str
    text: bytes
    manifest: Manifest | None = None
    path: str = ""
    refused: bool | None = None
    before: Manifest | None = None

    def __str__(self) -> str:
        """The line that repeats it."""
        return (
            f"python -m fuzz --seed {self.seed} --case {self.number}  # {self.kind}: {self.what} {self.path}".rstrip()
        )


def case(seed: int, number: int) -> Case:
    """Return the case."""
    draw = random.Random(f"{seed}/{number}")
    kind = KINDS[number % len(KINDS)]
    known = {"seed": seed, "number": number, "kind": kind}
    if kind == "transition":
        before, after = transitions.pair(draw)
        return Case(**known, what="update", text=_json(after), manifest=after, before=before, refused=False)
    if kind == "drawn":
        job = sound.drawn(draw)
        return Case(**known, what="parts that may contradict", text=_json(job), manifest=job)
    job = sound.manifest(draw)
    if kind == "sound":
        return Case(**known, what="valid", text=_json(job), manifest=job, refused=False)
    if kind == "text":
        what, text = texts.twist(draw, job)
        return Case(**known, what=what, text=text)
    spoilt = (contradictions.contradict if kind == "contradiction" else mistakes.spoil)(draw, job)
    return Case(
        **known,
        what=spoilt.what,
        text=_json(spoilt.manifest),
        manifest=spoilt.manifest,
        path=spoilt.path,
        refused=spoilt.refused,
    )


def _json(job: Manifest) -> bytes:
    return json.dumps(job).encode()
