"""What somebody meant by a field that does not exist: a misspelling, or the word of another system."""

import difflib
from collections.abc import Iterable

# Words that people bring along from Job, PyTorchJob, TrainJob, JobSet, Volcano and torchrun.
ELSEWHERE: dict[str, str] = {
    "args": "put them behind the script in 'script', or use 'command'",
    "backoffLimit": "use 'failurePolicy.maxRestarts'",
    "completions": "use 'workers'",
    "entrypoint": "use 'task', 'script' or 'command'",
    "gpus": "use 'resources.limits' with nvidia.com/gpu",
    "hostIPC": "the workers may not use the namespaces of the node; 'sharedMemory' sizes /dev/shm",
    "hostNetwork": "the workers may not use the network of the node",
    "hostPID": "the workers may not use the namespaces of the node",
    "hostPath": "use 'claim', 'configMap', 'secret', 'emptyDir', 'image' or 'ephemeral'",
    "minAvailable": "all workers start together or not at all; see 'elastic' for bounds",
    "nfs": "make a PersistentVolumeClaim for it and use 'claim'",
    "nnodes": "use 'workers'",
    "nodes": "use 'workers'",
    "nprocPerNode": "use 'processesPerWorker'",
    "numNodes": "use 'workers'",
    "numProcPerNode": "use 'processesPerWorker'",
    "nodeName": "use 'nodeSelector' or 'affinity'",
    "parallelism": "use 'workers'",
    "persistentVolumeClaim": "use 'claim'",
    "privileged": "the workers run under the Pod Security level restricted",
    "pytorchReplicaSpecs": "use 'workers', 'image' and 'resources'",
    "queue": "set the label kueue.x-k8s.io/queue-name",
    "replicas": "use 'workers'",
    "resourceClaims": "use 'resources.claims'",
    "resourceClaimName": "use 'claimName'",
    "resourceClaimTemplateName": "use 'templateName'",
    "restartPolicy": "use 'failurePolicy'",
    "securityContext": "the workers run under the Pod Security level restricted",
    "template": "there is no pod template: the fields of spec shape the pods",
}


def meant(word: str, fields: Iterable[str]) -> str:
    """Return the advice for an unknown field beside the known ones, or "" when nothing is near."""
    known = list(fields)
    if word in ELSEWHERE:
        return ELSEWHERE[word]
    lower = {field.lower(): field for field in known}
    near = difflib.get_close_matches(word.lower().replace("_", "").replace("-", ""), lower, n=1, cutoff=0.7)
    if near:
        return f"did you mean '{lower[near[0]]}'?"
    return "the fields here are " + ", ".join(sorted(known)) if len(known) <= 12 else ""
