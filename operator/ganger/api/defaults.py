"""What a job means where it says nothing: the defaults that depend on other fields or on the operator."""

from msgspec.structs import replace

from ganger.api.types import TrainingJob


def fill(job: TrainingJob, image: str) -> TrainingJob:
    """Return the job with every such default in place. Total and idempotent; `image` is the operator's default. Pure.

    The access mode of a volume made for several workers is ReadWriteMany, since they may run on several nodes. Where a
    storage class has no such volumes and the workers share one node, ReadWriteOnce does and has to be asked for.
    """
    spec = job.spec
    if spec.image is None:
        spec = replace(spec, image=image)
    if spec.checkpoint is not None:
        volume = spec.checkpoint.volume
        if volume.claim_name is None and volume.access_mode is None:
            mode = "ReadWriteMany" if spec.most_workers > 1 else "ReadWriteOnce"
            spec = replace(spec, checkpoint=replace(spec.checkpoint, volume=replace(volume, access_mode=mode)))
    return job if spec is job.spec else replace(job, spec=spec)
