"""What `kubectl apply` makes of a stored object: three-way, as a JSON merge patch of a custom resource. Pure.

What the file says is set; what the last apply said and the file does not is taken away; the rest stays as it is, be it
a default of the API server or what somebody else has set, as `ganger suspend` does.
"""

from typing import Any

import msgspec

Values = dict[str, Any]
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def applied(stored: Values, file: Values) -> Values:
    """Return the stored object as an apply of the file would leave it: spec, labels and annotations."""
    last = _last(stored)
    metadata = dict(stored.get("metadata") or {})
    for part in ("labels", "annotations"):
        said = [(one.get("metadata") or {}).get(part) or {} for one in (last, file)]
        metadata[part] = merged(said[0], metadata.get(part) or {}, said[1])
    spec = merged(last.get("spec") or {}, stored.get("spec") or {}, file.get("spec") or {})
    return stored | {"metadata": metadata, "spec": spec}


def merged(last: Values, stored: Values, file: Values) -> Values:
    """Return an object as an apply leaves it. A list is one value, as in a merge patch; null takes a field away."""
    found = {key: value for key, value in stored.items() if key in file or key not in last}
    for key, value in file.items():
        if value is None:
            found.pop(key, None)
        elif isinstance(value, dict):
            before, below = last.get(key), stored.get(key)
            found[key] = merged(
                before if isinstance(before, dict) else {}, below if isinstance(below, dict) else {}, value
            )
        else:
            found[key] = value
    return found


def _last(stored: Values) -> Values:
    text = ((stored.get("metadata") or {}).get("annotations") or {}).get(LAST_APPLIED, "{}")
    try:
        found = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return {}  # anybody may write an annotation; kubectl itself would refuse, and the job is worth comparing
    return found if isinstance(found, dict) else {}
