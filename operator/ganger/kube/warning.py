"""What an API server warns of beside its answer: the `Warning` headers of RFC 7234, as Kubernetes writes them. Pure."""

import re
from collections.abc import Iterable

_WARNING = re.compile(r'299 \S+ "((?:[^"\\]|\\.)*)"')


def warnings(headers: Iterable[str]) -> list[str]:
    """Return the texts of Warning headers; what is no warning of a Kubernetes server is left out."""
    return [re.sub(r"\\(.)", r"\1", found) for header in headers for found in _WARNING.findall(header)]
