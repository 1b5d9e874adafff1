from ganger_dev import kwok

PUBLISHED = {
    "kind": "Stage",
    "spec": {
        "selector": {
            "matchExpressions": [
                {"key": ".status.phase", "operator": "In", "values": ["Running"]},
                {"key": ".metadata.ownerReferences.[].kind", "operator": "In", "values": ["Job"]},
            ]
        },
        "next": {"statusTemplate": "phase: Succeeded"},
    },
}


def test_a_simulated_worker_ends_well_after_the_time_in_its_environment_and_no_other_does():
    made = kwok.timed(PUBLISHED)["spec"]
    seconds = '.spec.containers[0].env[]? | select(.name == "SIMULATED_SECONDS") | .value'
    phase = PUBLISHED["spec"]["selector"]["matchExpressions"][0]
    assert [phase, {"key": seconds, "operator": "Exists"}] == made["selector"]["matchExpressions"]
    assert {"durationFrom": {"expressionFrom": seconds}} == made["delay"]
    assert {"statusTemplate": "phase: Succeeded"} == made["next"]


def test_a_node_renews_its_lease_as_often_as_it_is_told_to(tmp_path):
    assert "--node-lease-duration-seconds=800" in kwok.flags(tmp_path, tmp_path, 1, lease_seconds=800)
