"""What a fault of `bench.goodput` is, how often it comes, and what each part of an answer to it takes."""

from msgspec import Struct

FAULT_EVERY_SECONDS = 180.0
STEP_SECONDS = 0.1
HANG_SECONDS = 20  # chosen: spec.failurePolicy.hang.timeoutSeconds
# Shares of 100 faults, by the 419 unexpected interruptions in 54 days of Llama 3's training (The Llama 3 Herd of
# Models, table 5). It knows no exceeded memory limit, which is taken from its software bugs, and no slow checkpoint.
MIX = {
    "crash": 81,  # a process dies under a node that stays: GPU and its memory, network, software
    "outOfMemory": 3,  # assumed
    "eviction": 8,  # host maintenance
    "nodeLost": 3,  # SSD, power supply, chassis, CPU, memory
    "hang": 2,  # watchdog timeouts of NCCL
    "nan": 1,  # silent data corruption
    "slowCheckpoint": 2,  # assumed
}


class Costs(Struct, frozen=True, kw_only=True):
    """Seconds. Means of 21 trials of `make bench ONLY=recovery` in pods, where not said otherwise."""

    save_every: float = 2.0  # chosen: spec.checkpoint.everySeconds
    save_hold: float = 0.004  # assumed: what a save holds the steps up, the copy of the state
    save_write: float = 0.3  # assumed: from the copy to the commit
    slow_save: float = 20.0  # assumed: how long one slow save holds the steps up
    notice: float = 0.1  # assumed: from a process's death to the operator's pass; the report is sent at once
    write: float = 0.02  # assumed: one status write
    process_round: float = 0.21  # from the order to the next step: processes start anew in their pods; 0.33 in all
    container_round: float = 3.4  # the same with new containers; 3.52 in all
    pod_end: float = 0.4  # from SIGTERM to the end of a worker that has nothing to save; by the watch of the pods
    pod_start: float = 0.75  # from a pod's creation to its running container; by the watch of the pods
    worker_start: float = 2.2  # from the running container to the next step; 3.48 in all
    stop: float = 0.8  # assumed: from SIGTERM to the last commit and the end: agreement, step, save
    node_silence: float = 50.0  # Kubernetes: --node-monitor-grace-period, until a node is known not to answer
    roll_back: float = 0.5  # assumed: loading a checkpoint in running processes


COSTS = Costs()
