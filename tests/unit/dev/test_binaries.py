from ganger_dev.binaries import TOOLS, go_mod, linker_flags, staging_modules

PUBLISHED = """\
module k8s.io/kubernetes

require (
	k8s.io/api v0.0.0
)

replace (
	k8s.io/api => ./staging/src/k8s.io/api
	k8s.io/client-go => ./staging/src/k8s.io/client-go
	example.com/other => example.com/fork v1.0.0
)
"""


def test_only_the_staging_modules_are_replaced():
    assert ["k8s.io/api", "k8s.io/client-go"] == staging_modules(PUBLISHED)


def test_a_staging_module_is_replaced_by_the_release_that_goes_with_the_program():
    text = go_mod(TOOLS["kubectl"], ["k8s.io/api"])

    assert "require k8s.io/kubernetes v1.37.2\n" in text
    assert "replace k8s.io/api => k8s.io/api v0.37.2\n" in text


def test_kubernetes_programs_carry_their_version():
    flags = linker_flags(TOOLS["kube-apiserver"])

    assert "-X k8s.io/component-base/version.gitVersion=v1.37.2" in flags
    assert "-X k8s.io/component-base/version.gitMinor=37" in flags


def test_every_version_of_a_program_has_a_folder_of_its_own():
    names = [tool.directory_name for tool in TOOLS.values()]

    assert len(names) == len(set(names))
    assert "etcd-3.7.3" in names
