from pathlib import Path

import pytest

from ganger_dev.provisioner import PROVISIONER, STORAGE_CLASS, released, volume, wanted


def claim(**spec):
    return {
        "metadata": {"name": "data", "namespace": "team", "uid": "u-1"},
        "spec": {
            "storageClassName": STORAGE_CLASS,
            "accessModes": ["ReadWriteMany"],
            "resources": {"requests": {"storage": "1Gi"}},
            **spec,
        },
    }


def test_a_claim_of_our_class_without_a_volume_is_wanted():
    assert wanted(claim())


@pytest.mark.parametrize("spec", [{"storageClassName": "fast"}, {"volumeName": "pv-1"}, {"volumeMode": "Block"}])
def test_other_claims_are_left_alone(spec):
    assert not wanted(claim(**spec))


def test_a_volume_names_its_claim_by_uid_so_that_it_binds_at_once():
    made = volume(claim(), path=Path("/volumes/x"), node="node-1")

    assert ("team", "data", "u-1") == tuple(made["spec"]["claimRef"][key] for key in ("namespace", "name", "uid"))
    assert "pvc-u-1" == made["metadata"]["name"]
    assert {"path": "/volumes/x"} == made["spec"]["local"]


@pytest.mark.parametrize(
    ("by", "policy", "phase", "expected"),
    [
        (PROVISIONER, "Delete", "Released", True),
        (PROVISIONER, "Retain", "Released", False),
        (PROVISIONER, "Delete", "Bound", False),
        ("somebody.else", "Delete", "Released", False),
    ],
)
def test_only_our_released_volumes_are_deleted(by, policy, phase, expected):
    found = {
        "metadata": {"annotations": {"pv.kubernetes.io/provisioned-by": by}},
        "spec": {"persistentVolumeReclaimPolicy": policy},
        "status": {"phase": phase},
    }

    assert expected == released(found)
