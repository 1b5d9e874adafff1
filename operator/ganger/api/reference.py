"""The reference of our kinds as Markdown, made from the same schema as the CRDs. Written by `make generate`."""

import json
import re
from collections.abc import Iterator
from typing import Any

from ganger.api import freeze
from ganger.api.crd import COLUMNS, CRD_NAME, SELECTABLE, SESSION_COLUMNS, schema
from ganger.api.merge import KEYS
from ganger.api.rule import Rule
from ganger.api.rules import RULES
from ganger.api.session import DevSession, DevSessionSpec
from ganger.api.session_rules import SESSION_RULES
from ganger.api.types import TrainingJob, TrainingJobSpec
from ganger.api.validate import PROFILE_BYTES_MAX
from ganger.contract import (
    API_GROUP,
    API_VERSION,
    KIND,
    PROFILE_KIND,
    PROFILE_PLURAL,
    PROFILE_SHORT_NAMES,
    SESSION_KIND,
    SESSION_PLURAL,
    SESSION_SHORT_NAMES,
    SHORT_NAMES,
)

_HEAD = f"""# {KIND} ({API_GROUP}/{API_VERSION})

Generated from `operator/ganger/api` by `make generate`; edit the types there, not this file.

`kubectl explain tj.spec --recursive` shows the same, for the version that your cluster serves.
Short names: {", ".join(f"`{name}`" for name in SHORT_NAMES)}. The definition is `{CRD_NAME}`,
in `charts/ganger/files/trainingjobs.yaml`.
"""


def _type(node: dict[str, Any]) -> str:
    if node.get("x-kubernetes-int-or-string"):
        return "integer or string"
    if "enum" in node:
        return " \\| ".join(f"`{word}`" if word else '`""`' for word in node["enum"])
    if node["type"] == "array":
        return f"list of {_type(node['items'])}"
    if node["type"] == "object" and "additionalProperties" in node:
        return f"map to {_type(node['additionalProperties'])}"
    if node.get("x-kubernetes-preserve-unknown-fields"):
        return "free-form object"
    return str(node.get("format", node["type"]))


def _bounds(node: dict[str, Any]) -> str:
    """The bounds as people say them; a pattern is left to the CRD, its description says it in words."""
    low, high = node.get("minimum"), node.get("maximum")
    facts = []
    if low is not None and high is not None:
        facts.append(f"{low}..{high}")
    elif low is not None:
        facts.append(f">= {low}")
    for word, unit in (("maxLength", "characters"), ("maxItems", "items"), ("maxProperties", "entries")):
        if word in node:
            facts.append(f"<= {node[word]} {unit}")
    return ", ".join(facts)


def _below(node: dict[str, Any]) -> dict[str, Any] | None:
    """The object whose fields deserve a table of their own, if there is one below."""
    while node.get("type") == "array":
        node = node["items"]
    return node if "properties" in node else None


def _row(name: str, node: dict[str, Any], required: bool) -> str:
    # Where a profile may say it, the definition has no default of its own, and tells that of the types in words.
    told = re.search(r" Default: (\S+)\.(?= Example: |$)", node["description"])
    default = json.dumps(node["default"]) if "default" in node else told[1] if told else ""
    default = "required" if required else f"`{default}`" if default else ""
    text = node["description"].replace(told[0], "") if told else node["description"]
    text = re.sub(r" ?Example: (\S.*?)(?= Example: |$)", r" Example: `\1`.", text)
    text = text.replace("|", "\\|").strip()
    return f"| `{name}` | {_type(node)} | {default} | {_bounds(node)} | {text} |"


def _tables(path: str, node: dict[str, Any]) -> Iterator[str]:
    yield f"\n## `{path}`\n"
    yield node["description"] + "\n"
    yield "| field | type | default | bounds | meaning |"
    yield "|---|---|---|---|---|"
    for name, one in node["properties"].items():
        yield _row(name, one, name in node.get("required", ()))
    for name, one in node["properties"].items():
        below = _below(one)
        if below is not None:
            yield from _tables(f"{path}.{name}" + ("[]" if one.get("type") == "array" else ""), below)


def _blamed(rule: Rule) -> str:
    if rule.on in (TrainingJob, DevSession):
        return rule.path.lstrip(".")
    if rule.on in (TrainingJobSpec, DevSessionSpec):
        return f"spec{rule.path}"
    return f"{rule.on.__name__}{rule.path}"


def _rule_table(rules: tuple[Rule, ...], kind: str) -> Iterator[str]:
    yield "\n## Rules\n"
    when = f"when a {kind} is created or changed"
    yield f"Checked by the API server {when}, and by `ganger validate` without a cluster.\n"
    yield "| field | rule | checked by |"
    yield "|---|---|---|"
    for rule in rules:
        text = f"{rule.message}; {rule.remedy}" if rule.remedy else rule.message
        where = "API server, CLI" if rule.cel else "CLI, controller"
        yield f"| `{_blamed(rule)}` | {text.replace('|', chr(92) + '|')} | {where} |"


def _rules() -> Iterator[str]:
    yield from _rule_table(RULES, "job")
    yield "\n## Changing a job\n"
    free = ", ".join(f"`{field}`" for field in TrainingJobSpec.__struct_encode_fields__ if field in freeze.FREE)
    yield f"These fields of `spec` may change at any time: {free}; with `elastic` also `workers`."
    yield f"Every other one is frozen while the job is not suspended: {freeze.REMEDY}."
    yield f"And always: {freeze.VOLUME_MESSAGE}. Instead {freeze.VOLUME_REMEDY}."


def _column_table(columns: tuple[tuple[str, str, str, bool], ...], short: str) -> Iterator[str]:
    yield f"\n## Columns of `kubectl get {short}`\n"
    yield "| column | from | shown |"
    yield "|---|---|---|"
    for name, _, path, wide in columns:
        yield f"| {name.upper()} | `{path.lstrip('.')}` | {'`-o wide`' if wide else 'always'} |"


def _columns() -> Iterator[str]:
    yield from _column_table(COLUMNS, "tj")
    yield "\nField selectors: " + ", ".join(f"`{path.lstrip('.')}`" for path in SELECTABLE) + "."


def markdown() -> str:
    """Return the whole reference page."""
    properties = schema()["properties"]
    lines = [_HEAD.rstrip()]
    lines += _tables("spec", properties["spec"])
    lines += _rules()
    lines += _tables("status", properties["status"])
    lines += _columns()
    return "\n".join(lines) + "\n"


_KEYED = ", ".join(f"`{name}` by `{key}`" for name, key in KEYS.items())
_PROFILE_HEAD = f"""# {PROFILE_KIND} ({API_GROUP}/{API_VERSION})

Generated from `operator/ganger/api` by `make generate`; edit the types there, not this file.

Policy that many jobs share. A job names it in `spec.profile`. It is looked up in the job's namespace, then in the
operator's, and read once: when the job starts, and when it is resumed.
Short name: {", ".join(f"`{name}`" for name in PROFILE_SHORT_NAMES)}. The definition is `{PROFILE_PLURAL}.{API_GROUP}`,
in `charts/ganger/files/{PROFILE_PLURAL}.yaml`. Why it is so: docs/adr/0018-profiles.md.

## How it meets the job

The job's own value wins. An empty list or map is the same as none.

- Objects merge field by field, maps (`nodeSelector`, `resources.limits`, `resources.requests`) key by key.
- These lists merge item by item: {_KEYED}.
  The job's item stands for the profile's of the same key. The job's `rules` come first; in other lists the profile's.
- Every other list, and `affinity`, is the job's or the profile's as a whole.
- Of two alternatives (`size` and `claimName`, `everySteps` and `everySeconds`) the job's choice drops the profile's.
- A `checkpoint` without an interval is for jobs that keep checkpoints; it makes none where the job has none.
- The spec is at most {PROFILE_BYTES_MAX} bytes as JSON: the status of every job that names the profile keeps a copy.

What comes out is checked by the rules of a [job](trainingjob.md); where they refuse it, the job waits with reason
`ProfileInvalid`.

## `spec`

The fields below are those of a [job](trainingjob.md), where their parts are explained. There are no others.

| field | type | bounds | meaning |
|---|---|---|---|"""


def profile_markdown() -> str:
    """Return the whole reference page of TrainingProfile; what lies below its fields is told on that of the job."""
    lines = [_PROFILE_HEAD]
    for name, node in schema(PROFILE_KIND)["properties"]["spec"]["properties"].items():
        cells = _row(name, node, required=False).split(" | ")
        lines.append(" | ".join(cells[:2] + cells[3:]))
    return "\n".join(lines) + "\n"


_SESSION_HEAD = f"""# {SESSION_KIND} ({API_GROUP}/{API_VERSION})

Generated from `operator/ganger/api` by `make generate`; edit the types there, not this file.

A pod with JupyterLab and SSH, of a job's image and with its volumes, that ends by itself:
[docs/dev-sessions.md](../dev-sessions.md) tells how to use it.
Short name: {", ".join(f"`{name}`" for name in SESSION_SHORT_NAMES)}. The definition is `{SESSION_PLURAL}.{API_GROUP}`,
in `charts/ganger/files/{SESSION_PLURAL}.yaml`. Why it is so: docs/adr/0028-dev-sessions.md.
"""


def session_markdown() -> str:
    """Return the whole reference page of DevSession."""
    properties = schema(SESSION_KIND)["properties"]
    lines = [_SESSION_HEAD.rstrip()]
    lines += _tables("spec", properties["spec"])
    lines += _rule_table(SESSION_RULES, "session")
    lines += _tables("status", properties["status"])
    lines += _column_table(SESSION_COLUMNS, SESSION_SHORT_NAMES[0])
    lines.append("\nField selector: `status.phase`.")
    return "\n".join(lines) + "\n"
