"""Text becomes values with line numbers, or one sentence; nothing is expanded, run or guessed."""

import time

import pytest

from ganger.api.manifest import DEPTH_MAX, SIZE_BYTES_MAX, ManifestError, load
from ganger.api.validate import check_manifest

HEAD = "apiVersion: ganger.dev/v1alpha1\nkind: TrainingJob\nmetadata: {name: a}\nspec:\n"


def value(text: str):
    """What one scalar means."""
    return load(f"a: {text}")[0].manifest["a"]


def refusal(text: str | bytes) -> str:
    """The sentence of a refusal."""
    with pytest.raises(ManifestError) as error:
        load(text)
    return str(error.value)


@pytest.mark.parametrize(
    "text, meaning",
    [
        ("8", 8),
        ('"8"', "8"),
        ("-3", -3),
        ("+3", 3),
        ("0x1F", 31),
        ("1e3", 1000),
        ("2.0", 2),
        ("1.0e-3", 0.001),
        (".5", 0.5),
        ("0.0.0.0", "0.0.0.0"),
        ("2024-01-01", "2024-01-01"),
        ("12:30:45", "12:30:45"),
        ("1.2.3", "1.2.3"),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("", None),
        ('""', ""),
        ("null", None),
        ('"no"', "no"),
        ("Norway", "Norway"),
        ("16Gi", "16Gi"),
        ("|\n  x\n  y\n", "x\ny\n"),
        ("9223372036854775807", 2**63 - 1),
    ],
)
def test_a_scalar_means_the_same_to_everybody(text, meaning):
    read = value(text)

    assert (meaning, type(meaning)) == (read, type(read))


@pytest.mark.parametrize("text", ["no", "Yes", "ON", "off", "y", "N"])
def test_a_boolean_to_some_readers_is_refused(text):
    assert f"line 1: {text} is a boolean to some readers of YAML: put it in quotes, or write true or false" == refusal(
        f"a: {text}"
    )


@pytest.mark.parametrize("text", ["010", "0o17", "0b11", "1_000", "0x_1", "1_0.5"])
def test_a_number_that_readers_disagree_on_is_refused(text):
    assert "one number to some readers of YAML and another to others: put it in quotes" in refusal(f"a: {text}")


@pytest.mark.parametrize("text", [".nan", ".NaN", ".inf", "-.inf", "+.INF"])
def test_what_json_cannot_hold_is_refused(text):
    assert f"line 2: {text} has no place in a manifest: JSON has no infinity and no NaN" == refusal(f"b: 1\na: {text}")


@pytest.mark.parametrize(
    "text, words", [("1e999", "any number"), ("9" * 30, "64 bits"), ("-9223372036854775809", "64 bits")]
)
def test_a_number_beyond_measure_is_refused(text, words):
    assert f"is larger than {words}" in refusal(f"a: {text}")


def test_a_number_of_a_million_digits_is_refused_at_once():
    start = time.perf_counter()
    message = refusal("a: " + "9" * 1_000_000)

    assert "larger than 64 bits" in message
    assert len(message) < 100
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("", "the manifest is empty"),
        ("---\n---\n", "the manifest is empty"),
        ("- a\n", "line 1: a manifest must be an object such as 'kind: TrainingJob'"),
        ("just words", "line 1: a manifest must be an object such as 'kind: TrainingJob'"),
        (HEAD.encode("utf-16"), "the manifest is UTF-16: save it as UTF-8"),
        (b"\x80\x81", "the manifest is not text in UTF-8"),
        ("a\0b", "the manifest is binary, not text in UTF-8"),
        (b"x" * (SIZE_BYTES_MAX + 1), f"the manifest is larger than {SIZE_BYTES_MAX} bytes"),
        ("a: *b", "line 1: YAML aliases are not allowed: write out what *b stands for"),
        ("a: !x 1", "line 1: YAML tags are not allowed: remove !x"),
        ("a: !!binary aGk=", "line 1: YAML tags are not allowed: remove !!binary"),
        ("? [a]\n: 1", "line 1: the key that is itself an object or a list must be a string: put it in quotes"),
        ("1: a", "line 1: the key '1' must be a string: put it in quotes"),
        ("a: 1\nb: 2\na: 3", "line 3: duplicate key 'a', first on line 1"),
        ("a: {<<: {b: 1}}", "line 1: YAML merge keys (<<) are not allowed: write out what they merge"),
        ("a: [" * 40 + "]" * 40, None),
    ],
    ids=str,
)
def test_a_text_that_is_no_manifest_gets_one_sentence(text, sentence):
    message = refusal(text)

    assert sentence in (message, None)
    assert "\n" not in message


def test_a_manifest_may_not_be_nested_without_end():
    deep = "a: " + "[" * (DEPTH_MAX + 2) + "]" * (DEPTH_MAX + 2)

    assert f"line 1: the manifest is nested deeper than {DEPTH_MAX} levels" == refusal(deep)
    assert "nest" in refusal("a: " + "[" * 100_000)


def test_a_bomb_of_aliases_is_refused_before_it_is_expanded():
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    for level in range(1, 30):
        bomb += f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n"

    assert "line 2: YAML aliases are not allowed: write out what *a0 stands for" == refusal(bomb)


def test_a_tag_runs_nothing(tmp_path):
    trace = tmp_path / "ran"
    message = refusal(f'a: !!python/object/apply:os.system ["touch {trace}"]')

    assert "remove !!python/object/apply:os.system" in message
    assert not trace.exists()


def test_a_byte_order_mark_and_carriage_returns_change_nothing():
    plain = load(HEAD + "  task: m:t\n")[0].manifest

    assert plain == load(("\ufeff" + HEAD + "  task: m:t\n").replace("\n", "\r\n").encode())[0].manifest


@pytest.mark.parametrize(
    "text, meaning",
    [
        (r'{"a": "\ud83d\ude00"}', "\U0001f600"),
        (r'{"a": "\\ud83d\\ude00"}', r"\ud83d\ude00"),
        (r"{'a': '\ud83d\ude00'}", r"\ud83d\ude00"),
        (r'{"a": "\/tmp"}', "/tmp"),
        (r"a: '\/tmp'", r"\/tmp"),
        (r'a: "\\/tmp"', r"\/tmp"),
    ],
)
def test_escapes_of_json_are_read_in_json_alone(text, meaning):
    assert meaning == load(text)[0].manifest["a"]


def test_half_a_pair_and_endless_depth_in_json_are_refused_in_one_sentence():
    assert "line 1: not YAML: found invalid Unicode character escape code" == refusal(r'{"a": "\ud83d"}')
    assert "line 1: not YAML: exceeded maximum nesting depth" == refusal('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}")


@pytest.mark.parametrize("text", [r'a: "\/tmp"', "\ufeffb: \U0001f600\r\n" + r'a: "x\\\/"', r"""{'b': 1, "a": "\/"}"""])
def test_an_escaped_slash_in_yaml_is_refused_as_kubectl_refuses_it(text):
    assert "write /" in refusal(text)


def test_several_documents_are_read_with_lines_of_the_whole_file():
    first, second = load("a: 1\n---\n---\nb:\n- c: 2\n")

    assert ({"a": 1}, {"b": [{"c": 2}]}) == (first.manifest, second.manifest)
    assert (1, 4, 5) == (first.line("a"), second.line("b"), second.line("b[0].c"))


def test_a_field_that_is_not_there_is_found_where_it_should_be():
    document = load("spec:\n  env:\n  - name: A\n  limits:\n    nvidia.com/gpu: 1\n")[0]

    assert 3 == document.line("spec.env[0].value")
    assert 5 == document.line("spec.limits[nvidia.com/gpu]")
    assert 2 == document.line("spec.env[7]")
    assert 1 == document.line("spec.checkpoint.volume")
    assert 1 == document.line("metadata.name")


def test_a_name_of_a_megabyte_is_answered_briefly():
    text = HEAD.replace("name: a", f"name: {'a' * (1 << 19)}") + f"  task: m:t\n  image: {'b' * (1 << 18)}\n"
    _, errors = check_manifest(load(text)[0].manifest)

    assert ["spec.image", "metadata.name"] == [error.path for error in errors]
    assert all(len(str(error)) < 300 for error in errors)


@pytest.mark.parametrize("character", [r"\e", r"\a", r"\x7f", r"\N", r"\u202e"])
@pytest.mark.parametrize(
    "spec",
    [
        'task: "a{}b"',
        '"k{}": 1',
        'nodeSelector: {{"a{}": "b{}"}}',
        'resources: {{limits: {{"{}": "{}"}}}}',
        'a: 1\n  "{}": 1\n  "{}": 2',
    ],
)
def test_no_control_character_of_a_manifest_reaches_the_message(spec, character):
    """It would reach the terminal of whoever reads the refusal."""
    try:
        said = list(map(str, check_manifest(load(HEAD + "  " + spec.replace("{}", character).format())[0].manifest)[1]))
    except ManifestError as error:
        said = [str(error)]

    assert said
    assert all(text.isprintable() and len(text) < 300 for text in said)


def test_a_hundred_thousand_unknown_fields_are_one_mistake():
    start = time.perf_counter()
    fields = "".join(f"  k{index}: 1\n" for index in range(60_000))
    _, errors = check_manifest(load(HEAD + "  task: m:t\n" + fields)[0].manifest)

    assert ["spec: has 60000 unknown fields, the first is k0"] == list(map(str, errors))
    assert time.perf_counter() - start < 5


def test_long_keys_anchors_and_tags_are_answered_briefly():
    long, key = "a" * (1 << 19), "k" * 1000  # YAML itself allows no longer key on one line
    for text in (f"{key}: 1\n{key}: 1", f"a: *{long}", f"a: !{long} 1", f"0_{'1' * 1000}: 1", f"a: 0_{'1' * 1000}"):
        assert len(refusal(text)) < 300
    _, errors = check_manifest(load(HEAD + f"  {key}: 1\n  task: m:t\n")[0].manifest)

    assert [f"spec[{'k' * 80}...]: unknown field"] == list(map(str, errors))
