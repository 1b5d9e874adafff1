"""The API server refuses what the offline check refuses, and names the same field."""

import pytest

from bad_manifests.corpus import CORPUS


@pytest.mark.parametrize("bad", [bad for bad in CORPUS if bad.by_server], ids=lambda bad: bad.name)
def test_the_server_refuses_and_names_the_same_field(server, bad):
    answer = server.try_text(bad.text, bad.plural)

    assert answer.code in (400, 422)
    for name in bad.server_names:
        assert name in answer.message


@pytest.mark.parametrize("bad", [bad for bad in CORPUS if not bad.by_server], ids=lambda bad: bad.name)
def test_the_server_accepts_what_only_the_offline_check_can_see(server, bad):
    """Were it refused, the file would have to say so."""
    answer = server.try_text(bad.text, bad.plural)

    assert (201, "") == (answer.code, answer.message)
