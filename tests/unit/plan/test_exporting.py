"""From the last step of the training to the model files, pass by pass."""

import json

import msgspec
import pytest

from builders import T0, at, job, pod, running_gang, with_spec, with_status
from ganger.api.observed import Pod
from ganger.contract import CONTAINER
from ganger.plan.decide import decide
from ganger.plan.exportpod import export_pod
from ganger.plan.gang import gang
from ganger.plan.seen import Refusal, Seen
from ganger.plan.site import Site

CHECKPOINT = {"volume": {"claimName": "disk"}, "everySteps": 10}
FILES = [{"format": "onnx"}, {"format": "safetensors", "from": "Best"}]
MADE = [
    {"format": "onnx", "path": "exports/onnx/model.onnx", "sha256": "a" * 64, "bytes": 9, "maxAbsDiff": 2e-6,
     "step": 40},
    {"format": "safetensors", "path": "exports/safetensors/model.safetensors", "sha256": "b" * 64, "bytes": 8,
     "maxAbsDiff": 0.0, "step": 30},
]  # fmt: skip
SAID = {"outcome": "Done", "step": 40, "totalSteps": 40, "loss": 0.25, "metrics": {"accuracy": 0.97},
        "checkpoint": {"step": 40, "kept": 2, "verified": True}}  # fmt: skip
DONE = {"outcome": "Done", "artifacts": MADE}


def wish(**spec):
    return job(**{"checkpoint": CHECKPOINT, "export": FILES} | spec)


def gang_of(job_):
    """All workers, ended well."""
    return tuple(pod(job_, worker, exit_code=0, said=SAID) for worker in range(job_.spec.workers))


def exporter(job_, number=0, *, phase="Running", code=None, said=None, reason="", leaving=None, ended=60.0, **status):
    """The pod of that try as the kubelet would report it."""
    manifest = export_pod(job_, number, gang((), 0, 2))
    metadata = manifest["metadata"] | {"uid": f"export-{number}", "creationTimestamp": at(20), "namespace": "team"}
    state = {"running": {"startedAt": at(21)}} if phase == "Running" else {}
    status |= {"reason": reason} if phase == "Failed" else {}
    if code is not None:
        phase = "Failed" if code else "Succeeded"
        text = said if isinstance(said, str) else json.dumps(said or {})
        why = reason or ("Error" if code else "Completed")
        state = {"terminated": {"exitCode": code, "reason": why, "message": text, "finishedAt": at(ended)}}
    if leaving is not None:
        metadata["deletionTimestamp"] = at(leaving)
    status = {"phase": phase, "containerStatuses": [{"name": CONTAINER, "state": state}]} | status
    return msgspec.convert({"metadata": metadata, "spec": {"nodeName": "node-1"}, "status": status}, Pod)


def exporting(**spec):
    """A job whose training has ended, after the pass that says so."""
    a_job = wish(**spec)
    ran = with_status(a_job, decide(a_job, Seen(pods=running_gang(a_job)), at(2)).status)
    return with_status(ran, decide(ran, Seen(pods=gang_of(ran)), at(12)).status)


def names_of(manifests):
    return [manifest["metadata"]["name"] for manifest in manifests]


def after(job_, decision):
    return with_status(job_, decision.status)


# --- the way there ---
def test_the_end_of_the_training_is_written_before_anything_is_made():
    a_job = wish()
    ran = with_status(a_job, decide(a_job, Seen(pods=running_gang(a_job)), at(2)).status)
    decision = decide(ran, Seen(pods=gang_of(ran)), at(12))
    status = decision.status

    assert (("Exporting", 0, "2/2"), ()) == ((status.phase, status.export.number, status.workers), decision.pods)
    assert ("False", "Exporting") == (status.condition("Exported").status, status.condition("Exported").reason)
    assert not status.is_true("Running")
    assert status.is_true("PodsReady")  # a queue that waits for ready pods must not take this for a failure
    assert (40, 40) == (status.progress.step, status.checkpoint.latest_step)
    assert [("Exporting", "the training is done; its model files are made by pod digits-export-0")] == [
        (event.reason, event.message) for event in decision.events
    ]


def test_then_one_pod_is_made_and_it_costs_no_further_write_until_it_ends():
    a_job = exporting()
    decision = decide(a_job, Seen(pods=gang_of(a_job)), at(13))

    assert (None, ["digits-export-0"], ()) == (decision.status, names_of(decision.pods), decision.shared)
    for phase in ("Pending", "Running"):
        assert decide(a_job, Seen(pods=(*gang_of(a_job), exporter(a_job, phase=phase))), at(500)).empty


def test_a_job_without_exports_completes_as_ever():
    a_job = wish(export=[])
    ran = with_status(a_job, decide(a_job, Seen(pods=running_gang(a_job)), at(2)).status)

    assert "Complete" == decide(ran, Seen(pods=gang_of(ran)), at(12)).status.phase


def test_workers_that_are_gone_meanwhile_are_not_made_anew():
    a_job = exporting()

    assert ["digits-export-0"] == names_of(decide(a_job, Seen(), at(13)).pods)
    assert decide(a_job, Seen(pods=(exporter(a_job),)), at(14)).empty


def test_the_files_complete_the_job_in_one_write():
    a_job = exporting()
    decision = decide(a_job, Seen(pods=(*gang_of(a_job), exporter(a_job, code=0, said=DONE))), at(61))
    status = decision.status

    assert ("Complete", at(61), "2/2") == (status.phase, status.completion_time, status.workers)
    assert status.is_true("Exported")
    assert status.is_true("Complete")
    assert [
        (one["format"], one["path"], one["sha256"], one["bytes"], one["maxAbsDiff"], one["step"]) for one in MADE
    ] == [(one.format, one.path, one.sha256, one.bytes, one.max_abs_diff, one.step) for one in status.artifacts]
    assert "onnx, safetensors: made and compared, largest difference 2e-06" == decision.events[0].message
    ended = after(a_job, decision)
    assert decide(ended, Seen(pods=(*gang_of(a_job), exporter(a_job, code=0, said=DONE))), at(99)).empty


def test_a_last_word_without_the_files_fails_the_job():
    a_job = exporting()
    status = decide(a_job, Seen(pods=(exporter(a_job, code=0, said="garbage"),)), at(61)).status

    assert ("Failed", "ExportFailed") == (status.phase, status.condition("Failed").reason)
    assert "told of 0 files instead of 2" in status.message


# --- what goes wrong ---
def test_an_error_of_the_users_ends_the_job_with_the_numbers_and_keeps_what_was_made():
    a_job = exporting()
    text = "onnx: largest difference 0.31 of logits in batch 2 of 4, tolerance 0.0001"
    word = {"outcome": "UserError", "reason": "ExportDiffers", "message": text, "artifacts": MADE[1:]}
    decision = decide(a_job, Seen(pods=(*gang_of(a_job), exporter(a_job, code=65, said=word))), at(61))
    status = decision.status

    assert ("Failed", "ExportDiffers", text) == (status.phase, status.condition("Failed").reason, status.message)
    assert (("False", "ExportDiffers"), "ExportDiffers") == (
        (status.condition("Exported").status, status.condition("Exported").reason),
        status.export.last.reason,
    )
    assert ["safetensors"] == [one.format for one in status.artifacts]
    assert 40 == status.checkpoint.latest_step
    assert "'ganger export'" in decision.events[0].message
    assert 0 == status.goodput.lost_steps


@pytest.mark.parametrize(("code", "reason", "named"), [(137, "OOMKilled", "OOMKilled"), (1, "", "ProcessExited")])
def test_a_failure_spends_a_restart_and_is_tried_again(code, reason, named):
    a_job = exporting()
    decision = decide(a_job, Seen(pods=(exporter(a_job, code=code, reason=reason),)), at(61))
    export = decision.status.export

    assert ("Exporting", 1, 1, named, None) == (
        decision.status.phase, export.number, export.counted, export.last.reason, export.next_try_time
    )  # fmt: skip
    assert () == decision.pods
    assert "digits-export-1 starts (counted)" in decision.events[0].message
    again = after(a_job, decision)
    assert ["digits-export-1"] == names_of(decide(again, Seen(pods=(exporter(a_job, code=code),)), at(62)).pods)


def test_tries_wait_longer_each_time_and_end_with_max_restarts():
    a_job = exporting(failurePolicy={"maxRestarts": 2, "backoff": {"baseSeconds": 5}})
    first = after(a_job, decide(a_job, Seen(pods=(exporter(a_job, 0, code=1),)), at(61)))
    second = after(first, decide(first, Seen(pods=(exporter(a_job, 1, code=1),)), at(70)))
    waits = decide(second, Seen(), at(71))

    assert (2, at(75)) == (second.status.export.counted, second.status.export.next_try_time)
    assert (4.0, ()) == (waits.requeue_after_seconds, waits.pods)
    assert ["digits-export-2"] == names_of(decide(second, Seen(), at(75)).pods)
    last = decide(second, Seen(pods=(exporter(a_job, 2, code=1),)), at(80)).status
    assert "Failed" == last.phase
    assert "2 tries are spent (failurePolicy.maxRestarts)" in last.message


def test_an_eviction_by_the_kubelet_is_free():
    a_job = exporting(failurePolicy={"maxRestarts": 0})
    evicted = exporter(a_job, phase="Failed", reason="Evicted", message="low on memory")
    export = decide(a_job, Seen(pods=(evicted,)), at(61)).status.export

    assert (1, 0, "Evicted") == (export.number, export.counted, export.last.reason)


def test_an_eviction_by_the_api_is_seen_or_unseen_and_the_pod_is_made_again():
    target = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}
    a_job = exporting(failurePolicy={"maxRestarts": 0})
    evicted = exporter(a_job, code=143, conditions=[target], leaving=90)

    assert decide(a_job, Seen(pods=(evicted,)), at(61)).empty
    assert ["digits-export-0"] == names_of(decide(a_job, Seen(), at(62)).pods)


def test_a_rule_of_the_job_says_what_a_code_does():
    rule = {"name": "fatal", "onExitCodes": [1], "action": "FailJob"}
    a_job = exporting(failurePolicy={"rules": [rule]})

    assert "Failed" == decide(a_job, Seen(pods=(exporter(a_job, code=1),)), at(61)).status.phase


def test_a_deleted_pod_is_made_again_only_when_it_is_gone():
    a_job = exporting()
    leaving = exporter(a_job, leaving=65)

    assert decide(a_job, Seen(pods=(leaving,)), at(62)).empty
    assert ["digits-export-0"] == names_of(decide(a_job, Seen(), at(66)).pods)


def test_a_pod_on_a_node_that_is_silent_is_given_up_for_another_name():
    a_job = exporting(failurePolicy={"nodeLostGracePeriodSeconds": 5})
    leaving = exporter(a_job, leaving=65)
    decision = decide(a_job, Seen(pods=(leaving,)), at(71))
    again = after(a_job, decision)

    assert (1, 0, "NodeLost") == (
        decision.status.export.number, decision.status.export.counted, decision.status.export.last.reason
    )  # fmt: skip
    assert ["digits-export-1"] == names_of(decide(again, Seen(pods=(leaving,)), at(72)).pods)


def test_a_pod_that_hangs_for_an_hour_fails_the_job():
    a_job = exporting()
    ended = exporter(a_job, phase="Failed", reason="DeadlineExceeded")

    assert "ExportTooLong" == decide(a_job, Seen(pods=(ended,)), at(4000)).status.condition("Failed").reason


def test_the_deadline_of_the_job_covers_its_files():
    a_job = exporting(activeDeadlineSeconds=100)
    pods = (*gang_of(a_job), exporter(a_job))

    assert 40.5 == decide(a_job, Seen(pods=pods), at(60)).requeue_after_seconds
    status = decide(a_job, Seen(pods=pods), at(101)).status
    assert ("Failed", "DeadlineExceeded") == (status.phase, status.condition("Failed").reason)
    ended = with_status(a_job, status)
    assert ["digits-export-0"] == names_of_deletions(decide(ended, Seen(pods=pods), at(102)))


def names_of_deletions(decision):
    return [deletion.metadata.name for deletion in decision.deletions]


def test_what_keeps_the_pod_from_a_node_is_said_and_no_more_than_that():
    a_job = exporting()
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
    pods = (exporter(a_job, phase="Pending", conditions=[condition]),)
    decision = decide(a_job, Seen(pods=pods), at(15))

    assert ("Exporting", "0/3 nodes") == (decision.status.phase, decision.status.message)
    assert decision.status_delay_seconds > 0
    waits = after(a_job, decision)
    assert decide(waits, Seen(pods=pods), at(500)).empty
    runs = decide(waits, Seen(pods=(exporter(a_job),)), at(20)).status
    assert "Exporting" == runs.condition("Exported").reason


def test_a_refusal_for_good_fails_the_job_and_a_quota_waits():
    a_job = exporting()
    quota = Refusal(reason="QuotaExceeded", message="too many pods")
    status = decide(a_job, Seen(refusal=quota), at(15)).status

    assert ("Exporting", "too many pods") == (status.phase, status.message)
    bad = Refusal(reason="PodInvalid", message="no such volume", permanent=True)
    assert "Failed" == decide(a_job, Seen(refusal=bad), at(15)).status.phase


# --- suspend, and other changes of mind ---
def suspended(job_):
    held = with_spec(job_, suspend=True)
    return after(held, decide(held, Seen(pods=(*gang_of(job_), exporter(job_))), at(30)))


def test_a_suspension_stops_the_pod_and_a_resume_goes_on_with_the_next_without_the_gang():
    a_job = exporting()
    held = suspended(a_job)
    pods = (*gang_of(a_job), exporter(a_job))

    assert "Suspended" == held.status.phase
    assert "digits-export-0" in names_of_deletions(decide(held, Seen(pods=pods), at(31)))
    back = with_spec(held, suspend=False)
    assert decide(back, Seen(pods=(exporter(a_job, leaving=40),)), at(32)).empty
    decision = decide(back, Seen(), at(41))
    assert ("Exporting", 1, ()) == (decision.status.phase, decision.status.export.number, decision.pods)
    assert not decision.status.is_true("Suspended")
    again = after(back, decision)
    assert ["digits-export-1"] == names_of(decide(again, Seen(), at(42)).pods)
    ready = decide(again, Seen(pods=(exporter(a_job, 1),)), at(45)).status
    assert ready.is_true("PodsReady")
    assert decide(after(again, decide(again, Seen(pods=(exporter(a_job, 1),)), at(45))),
                  Seen(pods=(exporter(a_job, 1),)), at(46)).empty  # fmt: skip


def test_an_export_that_was_taken_out_while_the_job_was_suspended_is_not_made():
    held = suspended(exporting())

    assert "Complete" == decide(with_spec(held, suspend=False, export=()), Seen(), at(50)).status.phase


def test_a_job_that_was_suspended_edited_and_resumed_unseen_begins_its_files_anew():
    a_job = exporting()
    old = exporter(a_job)
    edited = with_spec(a_job, export=a_job.spec.export[:1])

    assert ["digits-export-0"] == names_of_deletions(decide(edited, Seen(pods=(old,)), at(30)))
    ended = exporter(a_job, code=143)
    decision = decide(edited, Seen(pods=(ended,)), at(31))
    assert 1 == decision.status.export.number
    assert ["digits-export-1"] == names_of(decide(after(edited, decision), Seen(pods=(ended,)), at(32)).pods)


def test_a_pod_of_another_try_that_still_runs_goes_first():
    a_job = exporting()
    status = msgspec.structs.replace(
        a_job.status, export=msgspec.structs.replace(a_job.status.export, number=1)
    )  # as after a restore of the API server from a backup
    decision = decide(with_status(a_job, status), Seen(pods=(exporter(a_job, 0),)), at(30))

    assert (["digits-export-0"], ()) == (names_of_deletions(decision), decision.pods)


def test_an_export_that_the_status_does_not_know_goes_while_the_gang_trains():
    a_job = wish()
    ran = with_status(a_job, decide(a_job, Seen(pods=running_gang(a_job)), at(2)).status)
    decision = decide(ran, Seen(pods=(*running_gang(a_job), exporter(a_job))), at(3))

    assert ["digits-export-0"] == names_of_deletions(decision)


# --- accounts ---
def test_its_time_has_a_part_of_its_own_and_the_parts_sum_to_the_age():
    a_job = exporting()
    done = after(a_job, decide(a_job, Seen(pods=(*gang_of(a_job), exporter(a_job, code=0, said=DONE))), at(61)))
    seconds = msgspec.structs.asdict(done.status.goodput.seconds)

    assert 49.0 == seconds["exporting"]
    assert (at(61) - T0).total_seconds() == sum(seconds.values())


# --- the pod ---
def test_the_pod_is_a_worker_without_devices_gang_and_control_channel():
    resources = {"requests": {"cpu": "4", "memory": "16Gi"}, "limits": {"memory": "16Gi", "nvidia.com/gpu": 2}}
    a_job = exporting(
        workers=4, resources=resources, requiredTopologyKey="rack", env=[{"name": "A", "value": "b"}],
        volumes=[{"name": "data", "claim": {"claimName": "data"}}],
        volumeMounts=[{"name": "data", "mountPath": "/data"}],
    )  # fmt: skip
    ended = gang_of(a_job)
    statuses = (msgspec.structs.replace(ended[0].status.container_statuses[0], image_id="sha256:feed"),)
    worker = msgspec.structs.replace(
        ended[0], status=msgspec.structs.replace(ended[0].status, container_statuses=statuses)
    )
    site = Site(control_url="https://x:1", authority="pem", restarts_containers=True)
    manifest = decide(a_job, Seen(pods=(worker, *ended[1:])), at(13), site=site).pods[0]
    spec, container = manifest["spec"], manifest["spec"]["containers"][0]
    env = {one["name"]: one.get("value") for one in container["env"]}

    assert ["python", "-m", "ganger_trainer.export"] == container["args"]
    assert {"requests": {"cpu": "4", "memory": "16Gi"}, "limits": {"memory": "16Gi"}} == container["resources"]
    assert {"subdomain", "affinity", "resourceClaims", "schedulingGroup"} & set(spec) == set()
    assert ("digits-export-0", 3600, "Never") == (
        spec["hostname"], spec["activeDeadlineSeconds"], spec["restartPolicy"]
    )  # fmt: skip
    assert ["ganger-tmp", "ganger-shm", "ganger-checkpoints", "data"] == [one["name"] for one in spec["volumes"]]
    assert "restartPolicyRules" not in container
    assert ("export-0", "0") == (
        manifest["metadata"]["labels"]["ganger.dev/worker"], manifest["metadata"]["labels"]["ganger.dev/attempt"]
    )  # fmt: skip
    assert "prometheus.io/scrape" not in manifest["metadata"]["annotations"]
    assert ("m:t", "/checkpoints/digits", "0", "b", "", "sha256:feed") == tuple(
        env[name]
        for name in (
            "GANGER_TASK", "GANGER_CHECKPOINT_DIR", "GANGER_ATTEMPT", "A", "CUDA_VISIBLE_DEVICES", "GANGER_IMAGE_ID"
        )
    )  # fmt: skip
    assert "GANGER_CONTROL_URL" not in env
    assert {"step": 40, "metrics": {"accuracy": 0.97}} == json.loads(env["GANGER_EXPORT_METRICS"])
    assert [
        {"format": "onnx", "path": "exports", "from": "Latest", "tolerance": 1e-4, "opset": None},
        {"format": "safetensors", "path": "exports", "from": "Best", "tolerance": 1e-4, "opset": None},
    ] == json.loads(env["GANGER_EXPORTS"])


def test_workers_are_told_too_so_that_a_missing_package_is_found_at_the_start():
    env = {
        one["name"]: one.get("value") for one in decide(wish(), Seen(), at(0)).pods[0]["spec"]["containers"][0]["env"]
    }

    assert ["onnx", "safetensors"] == [one["format"] for one in json.loads(env["GANGER_EXPORTS"])]
