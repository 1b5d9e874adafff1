"""The boards as the chart ships them."""

import json
from pathlib import Path

FOLDER = Path(__file__).parents[3] / "charts" / "ganger" / "dashboards"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))


def load(name):
    """A fresh copy of a board, to read or to break."""
    return json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
