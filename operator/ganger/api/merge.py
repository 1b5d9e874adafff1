"""How the values of a profile become those of a job (docs/adr/0018-profiles.md).

On plain JSON, so that what was not written can be told from a default that was.
"""

from typing import Any

Values = dict[str, Any]

# What a profile may say: policy, and not the training itself.
PROFILED = frozenset(
    {
        "image",
        "resources",
        "sharedMemory",
        "env",
        "envFrom",
        "volumes",
        "volumeMounts",
        "nodeSelector",
        "affinity",
        "tolerations",
        "topologySpreadConstraints",
        "requiredTopologyKey",
        "priorityClassName",
        "schedulerName",
        "serviceAccountName",
        "imagePullSecrets",
        "runtimeClassName",
        "checkpoint",
        "failurePolicy",
        "terminationGracePeriodSeconds",
        "activeDeadlineSeconds",
        "startDeadlineSeconds",
        "ttlSecondsAfterFinished",
        "cleanPodPolicy",
    }
)
# The lists that are maps, as the schema has them for server-side apply. All others are replaced as a whole.
KEYS = {"env": "name", "volumes": "name", "volumeMounts": "mountPath", "claims": "name", "rules": "name"}
WHOLE = frozenset({"affinity"})  # free-form: nobody knows what belongs together in it
JOB_FIRST = frozenset({"rules"})  # the first rule that matches wins; a variable may refer to those before it
# Two ways to say one thing: what belongs to the way that the job has not chosen is left out.
ALTERNATIVES = (
    (frozenset({"size", "storageClassName", "accessMode"}), frozenset({"claimName", "path"})),
    (frozenset({"everySteps"}), frozenset({"everySeconds"})),
)
_INTERVALS = ALTERNATIVES[1][0] | ALTERNATIVES[1][1]


def merge(profile: Values, job: Values) -> Values:
    """Return the spec of a job with what the profile has to add. The job's own value wins; neither argument changes.

    A null or an empty collection of either says nothing. A checkpoint of the profile without an interval is for jobs
    that keep checkpoints: it makes none where the job has none.
    """
    policy = {key: value for key, value in profile.items() if key in PROFILED}
    if _says_nothing(job.get("checkpoint")) and not _INTERVALS & (policy.get("checkpoint") or {}).keys():
        policy.pop("checkpoint", None)
    return _objects(policy, job)


def _objects(profile: Values, job: Values) -> Values:
    added = {key: value for key, value in profile.items() if not _says_nothing(value)}
    for one, other in ALTERNATIVES:
        for mine, not_mine in ((one, other), (other, one)):
            if mine & job.keys():
                added = {key: value for key, value in added.items() if key not in not_mine}
    return added | {key: _value(key, added.get(key), value) for key, value in job.items()}


def _value(key: str, profile: Any, job: Any) -> Any:
    if profile is None or _says_nothing(job):
        return job if profile is None else profile
    if isinstance(profile, dict) and isinstance(job, dict) and key not in WHOLE:
        return _objects(profile, job)
    if key in KEYS:
        return _items(profile, job, KEYS[key], job_first=key in JOB_FIRST)
    return job


def _items(profile: list[Values], job: list[Values], key: str, *, job_first: bool) -> list[Values]:
    """Merge two lists by key: an item of the job stands for the profile's of the same key, as a whole."""
    own = {item[key]: item for item in job}
    if job_first:
        return [*job, *(item for item in profile if item[key] not in own)]
    known = {item[key] for item in profile}
    return [*(own.get(item[key], item) for item in profile), *(item for item in job if item[key] not in known)]


def _says_nothing(value: Any) -> bool:
    return value is None or value in ({}, [])
