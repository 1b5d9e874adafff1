"""`client.submit_function`: a function of a file as a job, and why another one cannot be."""

import functools
import sys

import pytest

from ganger import Code, Problem

LIBRARY = """\
import functools


def train(lr, steps=1):
    pass


def deco(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


@deco
def decorated():
    pass


def made(held):
    def inner():
        return held

    return inner


class Trainer:
    def fit(self):
        pass


short = lambda: None
partial = functools.partial(train, 1)
"""


@pytest.fixture
def library(tmp_path, monkeypatch):
    (tmp_path / "library_of_functions.py").write_text(LIBRARY)
    monkeypatch.syspath_prepend(tmp_path)
    import library_of_functions

    yield library_of_functions
    del sys.modules["library_of_functions"]


def test_its_file_is_the_code_and_its_arguments_are_the_settings(client, ganger, library):
    job = client.submit_function(library.train, {"lr": 0.1}, name="first")

    assert ("first", ("-m", "library_of_functions_function_entry"), {"lr": 0.1}) == (
        job.metadata.name,
        job.spec.script,
        job.spec.config,
    )
    (carried,) = [item for (plural, _), item in ganger.cluster.objects.items() if plural == "configmaps"]
    assert LIBRARY == carried["data"]["library_of_functions_function.py"]
    assert carried["metadata"]["name"] == job.spec.code.config_map.name


def test_a_decorated_function_and_every_kind_of_manifest_will_do(client, library, manifest):
    bases = (manifest(), {"kind": "TrainingJob", "spec": {"workers": 2}}, client.validate(manifest()))

    for number, base in enumerate(bases):
        job = client.submit_function(library.decorated, manifest=base, name=f"job-{number}")
        assert (2, None) == (job.spec.workers, job.spec.task)


def test_what_has_no_name_in_a_file_is_refused_with_the_reason(client, ganger, library):
    refused = [
        (library.short, "it has no name"),
        (library.made(3), "it is made inside of made, and holds held of it"),
        (library.Trainer.fit, "it belongs to class Trainer"),
        (library.Trainer().fit, "it is a method"),
        (library.Trainer, "it is a class"),
        (functools.partial(library.train, 1), "it is a partial"),
        (len, "it is a builtin_function_or_method"),
    ]

    for function, why in refused:
        with pytest.raises(Problem, match=why) as caught:
            client.submit_function(function)
        assert Code.USAGE == caught.value.code
    assert [] == ganger.cluster.writes


def test_a_function_of_a_prompt_is_sent_to_the_notebook(client):
    names = {"__name__": "nowhere"}
    exec("def train(): pass", names)

    with pytest.raises(Problem, match="--from-notebook FILE --function train"):
        client.submit_function(names["train"])


@pytest.mark.parametrize(
    "arguments, text",
    [({}, "needs lr"), ({"lr": 1, "stesp": 2}, "did you mean steps"), ({"lr": object()}, "no value of JSON")],
)
def test_arguments_that_do_not_fit_are_refused(client, ganger, library, arguments, text):
    with pytest.raises(Problem, match=text):
        client.submit_function(library.train, arguments)

    assert [] == ganger.cluster.writes


def test_every_line_in_the_way_is_in_the_problem(client, library, tmp_path):
    (tmp_path / "beside.py").write_text("")
    (tmp_path / "library_of_functions.py").write_text("import beside\nfrom . import x\ndef train(): pass\n")

    with pytest.raises(Problem, match=r"py:1: import beside.*; .*py:2: from \. is relative"):
        client.submit_function(library.train)
