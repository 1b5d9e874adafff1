"""The Prometheus text format 0.0.4, as far as Ganger writes it by hand.

Source: prometheus.io/docs/instrumenting/exposition_formats. Prometheus drops a whole page for one label that is not
UTF-8, so whatever a user may choose (the name of a metric, a failure's reason) goes through `escaped`.
"""

from math import isinf, isnan

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_LABEL = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})
_HELP = str.maketrans({"\\": "\\\\", "\n": "\\n"})


def escaped(value: str) -> str:
    """Return a label's value as it stands between the quotes. What UTF-8 cannot say becomes a question mark."""
    if value.isascii() and value.isalnum():
        return value
    return value.translate(_LABEL).encode("utf-8", "replace").decode()


def number(value: float) -> str:
    """Return a sample's value: the shortest text that reads back as the same float, NaN, +Inf or -Inf."""
    if isnan(value):
        return "NaN"
    if isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(value)


def head(name: str, kind: str, sentence: str) -> bytes:
    """Return the two lines that begin a family."""
    return f"# HELP {name} {sentence.translate(_HELP)}\n# TYPE {name} {kind}\n".encode()
