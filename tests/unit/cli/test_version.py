"""`ganger version`, and what people type who come from other programs."""

import json

import pytest

from ganger import __version__
from ganger.api.crd import definitions
from ganger.kube.errors import Forbidden


@pytest.fixture
def cluster(ganger):
    async def version():
        return (1, 37)

    ganger.cluster.version = version
    for one in definitions():
        conditions = [{"type": "Established", "status": "True"}]
        ganger.cluster.put("customresourcedefinitions", one | {"status": {"conditions": conditions}})
    return ganger.cluster


def deployment(version):
    return {
        "metadata": {
            "name": "ganger-operator",
            "namespace": "ganger-system",
            "labels": {"app.kubernetes.io/name": "ganger", "app.kubernetes.io/version": version},
        },
        "spec": {"replicas": 1},
        "status": {"readyReplicas": 1},
    }


def test_versions_that_fit_are_told_without_a_warning(ganger, cluster):
    cluster.put("deployments", deployment(__version__))

    said = ganger("version")

    assert (0, "") == (said.code, said.err)
    assert [
        ["client", f"{__version__},", "ganger.dev/v1alpha1,"],
        ["API", "server", "Kubernetes"],
        ["TrainingJob", "v1alpha1,", "as"],
        ["TrainingProfile", "v1alpha1,", "as"],
        ["DevSession", "v1alpha1,", "as"],
        ["operator", f"{__version__},", "ganger-operator"],
    ] == [line.split()[:3] for line in said.out.splitlines()]


def test_an_operator_and_definitions_of_another_version_are_warned_of_with_a_remedy(ganger, cluster):
    cluster.put("deployments", deployment("9.9.9"))
    cluster.objects["customresourcedefinitions", "trainingjobs.ganger.dev"]["spec"]["versions"][0]["schema"] = {}

    said = ganger("version", "-o", "json")

    assert 0 == said.code
    assert "warning: TrainingJob: its definition is of another version than this CLI" in said.err
    assert f"it is 9.9.9, and this CLI {__version__}" in said.err
    assert "  fix: helm upgrade ganger charts/ganger -n ganger-system, or install ganger==9.9.9 here" in said.err
    assert 6 == len(json.loads(said.out))


def test_what_may_not_be_read_is_no_warning(ganger, cluster):
    listed = cluster.list

    async def refusing(resource, *arguments, **named):
        if resource.plural == "deployments":
            raise Forbidden(403, "Forbidden", "no")
        return await listed(resource, *arguments, **named)

    cluster.list = refusing

    said = ganger("version")

    assert (0, "") == (said.code, said.err)
    assert "operator          you may not read that" in said.out


def test_the_client_alone_needs_no_cluster(ganger):
    ganger._connect = None

    said = ganger("version", "--client")

    assert (0, True) == (said.code, said.out.startswith(f"client   {__version__}, ganger.dev/v1alpha1, Python 3."))


@pytest.mark.parametrize(
    "word, here", [("apply", "submit"), ("ps", "list"), ("describe", "status"), ("stop", "suspend")]
)
def test_the_words_of_other_programs_are_answered_with_ours(ganger, word, here):
    said = ganger(word)

    assert 2 == said.code
    assert f"error: there is no command '{word}'; it is 'ganger {here}'" in said.err
