"""The kind DevSession: what its definition promises, and which public keys it takes."""

import base64
import struct
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from ganger.api.conform import conform
from ganger.api.crd import SESSION_COLUMNS, as_yaml, schema, session_crd
from ganger.api.rule import fields_read
from ganger.api.session import DevSession, DevSessionSpec
from ganger.api.session_rules import SESSION_RULES, WEAK, key_trouble
from ganger.api.types import encode
from ganger.api.validate import check_session, check_session_manifest
from ganger.contract import SESSION_KIND

FREE_FORM = {"spec.affinity"}


def nodes(node: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every node of a schema with its path."""
    yield path, node
    for name, inner in node.get("properties", {}).items():
        yield from nodes(inner, f"{path}.{name}")
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if key in node:
            yield from nodes(node[key], path + mark)


SPEC = dict(nodes(schema(SESSION_KIND)["properties"]["spec"], "spec"))
STATUS = dict(nodes(schema(SESSION_KIND)["properties"]["status"], "status"))


def key(kind: str, *fields: bytes, comment: str = "") -> str:
    """A line of authorized_keys with these fields in its blob."""
    blob = b"".join(struct.pack(">I", len(field)) + field for field in (kind.encode(), *fields))
    return f"{kind} {base64.b64encode(blob).decode()}{comment}"


def rsa(bits: int, exponent: bytes = b"\x01\x00\x01") -> str:
    """A key of so many bits."""
    modulus = (1 << (bits - 1)) | 1
    return key("ssh-rsa", exponent, modulus.to_bytes(bits // 8 + 1))


def point(bits: int) -> bytes:
    """An uncompressed point of a curve."""
    return b"\x04" + bytes(2 * ((bits + 7) // 8))


GOOD = [
    key("ssh-ed25519", bytes(range(32))),
    key("ssh-ed25519", bytes(range(32)), comment=" Änn's laptop, 2026"),
    *(key(f"ecdsa-sha2-nistp{bits}", f"nistp{bits}".encode(), point(bits)) for bits in (256, 384, 521)),
    rsa(3072),
    rsa(3072, b"\x03"),
    rsa(4096),
    rsa(8192),
]


def manifest(*keys):
    spec = {"ssh": {"authorizedKeys": list(keys)}}
    return {"apiVersion": "ganger.dev/v1alpha1", "kind": "DevSession", "metadata": {"name": "notes"}, "spec": spec}


@pytest.mark.parametrize("line", GOOD, ids=lambda line: line[:24])
def test_a_sound_public_key_is_taken(line):
    made, errors = check_session_manifest(manifest(line))

    assert [] == errors
    assert (line,) == made.spec.ssh.authorized_keys


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (rsa(2048), WEAK),
        (rsa(3064), WEAK),
        (key("ecdsa-sha2-nistp256", b"nistp256", point(256))[:-8], "is cut or damaged"),
        (GOOD[0].replace("ssh-ed25519", "ssh-rsa"), "is of another type inside than its first word says"),
        ("ssh-rsa AAAAB3NzaC1yc2EAAAA=", "is cut or damaged"),
        ("ssh-rsa A", "is cut or damaged"),
        ("ssh-rsa AAAA", "is cut or damaged"),
    ],
)
def test_what_is_wrong_with_another_is_said(line, said):
    assert said == key_trouble(line)


def test_everything_has_a_description_and_a_bound():
    named = {path: node for path, node in (SPEC | STATUS).items() if not path.endswith(("[]", "{}"))}
    lists = {path: node for path, node in (SPEC | STATUS).items() if node.get("type") == "array"}
    texts = {path: node for path, node in SPEC.items() if node.get("type") == "string"}
    numbers = {path: node for path, node in SPEC.items() if node.get("type") == "integer"}

    assert [] == [path for path, node in named.items() if not node.get("description")]
    assert [] == [path for path, node in lists.items() if not {"maxItems", "x-kubernetes-list-type"} <= set(node)]
    assert [] == [path for path, node in texts.items() if not {"maxLength", "enum"} & set(node)]
    assert [] == [path for path, node in numbers.items() if not {"minimum", "maximum"} <= set(node)]
    assert {path for path, node in SPEC.items() if node.get("x-kubernetes-preserve-unknown-fields")} == FREE_FORM
    assert len(as_yaml(session_crd())) < 100_000


def test_no_field_can_reach_another_namespace_or_the_node():
    words = {"namespace", "hostPath", "hostNetwork", "securityContext", "template", "nodeName", "privileged", "command"}

    assert set() == {path for path in SPEC if words & set(path.split("."))}


def test_the_defaults_of_the_schema_are_those_of_the_types():
    filled = {name: node["default"] for name, node in SPEC["spec"]["properties"].items() if "default" in node}

    assert DevSessionSpec() == msgspec.convert(filled, DevSessionSpec)
    assert {} == encode(DevSessionSpec())


def test_every_example_is_allowed_where_it_stands():
    for path, node in SPEC.items():
        text = node.get("description", "").partition("Example: ")[2]
        if text and node.get("type") == "string":
            assert [] == list(conform(text, node, path))


def test_every_rule_names_a_field_and_only_what_cel_cannot_see_is_left_to_us():
    for rule in SESSION_RULES:
        assert rule.path.rpartition(".")[2] in rule.message or rule.path == ".authorizedKeys"
        assert rule.cel or rule.path in (".metadata.labels", ".authorizedKeys")
        assert not rule.cel or fields_read(rule)


def test_columns_point_at_fields_that_exist():
    known = {f".{path}" for path in (*SPEC, *STATUS)}

    assert [] == [path for _, _, path, _ in SESSION_COLUMNS if path not in known and ".metadata." not in path]


def test_a_session_that_says_nothing_is_sound_and_a_stored_one_that_breaks_a_rule_is_told():
    assert [] == check_session(DevSession())
    broken = DevSession(spec=DevSessionSpec(idle_seconds=30))

    assert ["spec.idleSeconds"] == [error.path for error in check_session(broken)]
