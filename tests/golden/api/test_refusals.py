"""The words of the refusals, one golden file: a diff of it is what users will read from now on.

`make golden` rewrites it.
"""

import os
from pathlib import Path

from bad_manifests.corpus import CORPUS, mistakes
from ganger.api.manifest import ManifestError, load

GOLDEN = Path(__file__).parent / "refusals.txt"


def refusals(text: str) -> list[str]:
    """What is said of a file, one line for each mistake."""
    try:
        return [str(error) for document in load(text) for error in mistakes(document.manifest)]
    except ManifestError as error:
        return [str(error)]


def test_the_refusals_are_those_that_were_agreed_on():
    present = "".join(f"{bad.name}\n" + "".join(f"  {line}\n" for line in refusals(bad.text)) for bad in CORPUS)
    if os.environ.get("GANGER_GOLDEN") == "write":
        GOLDEN.write_text(present, "utf-8")

    assert GOLDEN.read_text("utf-8") == present, "the words changed: run `make golden` and review the diff"
