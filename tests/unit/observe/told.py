"""What a page of metrics says of itself, read by the parser of Prometheus' own client."""

from prometheus_client.parser import text_string_to_metric_families


def told_of(page):
    """Return type, label names but `le`, and help of each family by the name that stands behind its # TYPE.

    Fails where a family has two blocks, a sample none, or two samples are of the same series.
    """
    found, series = {}, set()
    for family in text_string_to_metric_families(page):
        name = family.name + ("_total" if family.type == "counter" else "")
        assert name not in found, f"{name} has two blocks"
        assert family.type != "unknown", f"{name} has no type"
        labels = set()
        for sample in family.samples:
            one = (sample.name, tuple(sorted(sample.labels.items())))
            assert one not in series, f"{one} is there twice"
            series.add(one)
            labels |= set(sample.labels)
        found[name] = (family.type, labels - {"le"}, family.documentation)
    return found
