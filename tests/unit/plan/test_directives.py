import msgspec
import pytest

from builders import at, job, pod
from ganger.contract import ANNOTATION_CHECKPOINT, ANNOTATION_STACKS, DIRECTIVES
from ganger.plan.directives import directives


def wished(**annotations):
    plain = job()
    return msgspec.structs.replace(plain, metadata=msgspec.structs.replace(plain.metadata, annotations=annotations))


def test_a_wish_reaches_the_workers_that_were_there_until_they_say_it_is_done():
    asked = wished(**{ANNOTATION_CHECKPOINT: at(3).isoformat(), ANNOTATION_STACKS: at(4).isoformat()})
    found = directives(asked, pod(asked, 0))

    assert DIRECTIVES == tuple(directive.kind for directive in found)
    assert found[1:] == directives(asked, pod(asked, 0), done=(found[0].id,))
    assert () == directives(asked, pod(asked, 0), done=tuple(directive.id for directive in found))


def test_a_worker_that_came_after_the_wish_is_not_meant():
    asked = wished(**{ANNOTATION_CHECKPOINT: at(0).isoformat()})

    assert () == directives(asked, pod(asked, 0))


@pytest.mark.parametrize("text", ["", "now", "2026-01-01T12:00:03", "tomorrow", "0"])
def test_what_is_no_time_asks_for_nothing(text):
    asked = wished(**{ANNOTATION_CHECKPOINT: text})

    assert () == directives(asked, pod(asked, 0))
