from ganger_dev.chart import mistakes, space
from ganger_dev.chart.tally import Tally

SCHEMA = {
    "definitions": {"name": {"type": "string"}},
    "properties": {
        "global": {"type": "object", "properties": {"registry": {"type": "string"}}},
        "image": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"tag": {"$ref": "#/definitions/name"}, "tags": {"enum": ["a", "b"]}},
        },
        "rbac": {"type": "object", "additionalProperties": False, "properties": {"create": {"type": "boolean"}}},
        "replicas": {"type": "integer"},
        "more": {"type": "array"},
    },
}


def test_every_key_is_misspelt_where_the_schema_is_closed():
    found = list(mistakes.misspelt(SCHEMA))

    assert ["'globa'", "'imag'", "'ta'", "'tagss'", "'rba'", "'creat'", "'replica'", "'mor'"] == [
        m.named for m in found
    ]
    assert {"image": {"ta": {}}} == found[2].values


def test_every_value_is_mistyped_with_what_it_can_never_be():
    found = {mistake.named: mistake.values for mistake in mistakes.mistyped(SCHEMA)}

    assert {
        "/global/registry": {"global": {"registry": 7}},
        "/image/tag": {"image": {"tag": 7}},
        "/image/tags": {"image": {"tags": "sideways"}},
        "/rbac/create": {"rbac": {"create": "yes"}},
        "/replicas": {"replicas": "many"},
        "/more": {"more": "one"},
    } == found


def test_every_switch_and_enumeration_of_the_chart_is_combined():
    root = space.schema()
    with_others, without = (space.factors(root, definitions=served) for served in (True, False))
    switches = {path for path, node in space.properties(root, root) if node.get("type") == "boolean"}

    assert switches <= set(with_others)
    assert {"image.pullPolicy", "operator.logLevel"} <= set(without)
    assert set(space.NEED_DEFINITIONS) == set(with_others) - set(without)


def test_values_by_path_become_nested():
    assert {"a": {"b": 1, "c": {"d": 2}}, "e": 3} == space.nested({"a.b": 1, "a.c.d": 2, "e": 3})


def test_a_miss_is_printed_and_what_holds_is_counted(capsys):
    tally = Tally()
    tally.expect("facts", "water is wet", True)
    tally.expect("objects", "five of them", True, count=5)
    tally.expect("facts", "the moon is a cheese", False, "stone\nand dust")

    assert "MISS facts: the moon is a cheese\n     stone and dust\n" == capsys.readouterr().out
    assert ["    1 facts", "    5 objects", "    1 misses"] == list(tally.lines())
