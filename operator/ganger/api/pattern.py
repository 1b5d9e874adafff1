"""Regular expressions that mean the same to Python as to the API server.

Only what RE2 knows too is used: no look-around and no back-references, so no text can make a match slow.
"""

import re
from functools import cache


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    # `$` of Python also matches before a last line feed; that of the API server does not. No pattern has a literal one.
    return re.compile(pattern.replace("$", r"\Z"))


def matches(pattern: str, text: str) -> bool:
    """Whether the pattern is found in the text, as the API server and CEL find it."""
    return _compiled(pattern).search(text) is not None
