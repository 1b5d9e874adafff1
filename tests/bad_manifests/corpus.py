"""The bad manifests and what their first lines promise.

Each file begins with comments: `# field:` (once for each field that the refusal names), `# refused by:` (`server` means
the API server and the offline check alike; `offline: why` means that the server cannot know), `# says:` (a part of the
offline message: what is allowed, or what to do) and, where the server's words for the field differ, `# server names:`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganger.api.field_error import FieldError
from ganger.api.validate import check_manifest, check_profile, check_session_manifest

FOLDER = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Bad:
    """One file. `server_names` is what the API server's message holds."""

    name: str
    text: str
    fields: tuple[str, ...]
    by_server: bool
    says: str
    server_names: tuple[str, ...]

    @property
    def plural(self) -> str:
        """Where the API server takes it."""
        kinds = {"TrainingProfile": "trainingprofiles", "DevSession": "devsessions"}
        return next((kinds[kind] for kind in kinds if f"\nkind: {kind}\n" in self.text), "trainingjobs")

    @property
    def readable(self) -> bool:
        """Whether the text is a manifest at all: then fields are blamed, else lines."""
        return not any(field.startswith(("line ", "the manifest")) for field in self.fields)


def mistakes(manifest: Mapping[str, Any]) -> list[FieldError]:
    """What the offline check says of a manifest of any of our kinds."""
    if manifest.get("kind") == "TrainingProfile":
        return check_profile(manifest)
    check = check_session_manifest if manifest.get("kind") == "DevSession" else check_manifest
    return check(manifest)[1]


def _read(path: Path) -> Bad:
    text = path.read_text("utf-8")
    said: dict[str, list[str]] = {"field": [], "refused by": [], "says": [], "server names": []}
    for line in text.splitlines():
        if not line.startswith("# ") or ": " not in line:
            break
        key, _, value = line[2:].partition(": ")
        said[key].append(value)
    (by,), (says,), fields = said["refused by"], said["says"], tuple(said["field"])
    assert fields, f"{path.name} names no field"
    assert by == "server" or by.startswith("offline: "), f"{path.name}: refused by {by}"
    return Bad(
        name=path.stem,
        text=text,
        fields=fields,
        by_server=by == "server",
        says=says,
        server_names=tuple(said["server names"]) or fields,
    )


CORPUS = [_read(path) for path in sorted(FOLDER.glob("*.yaml"))]
