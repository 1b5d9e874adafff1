"""Which shard a job belongs to, and how a shard's lease is called: functions of names and counts alone."""

from hashlib import sha256

from ganger.contract import OPERATOR_LEASE

SHARDS_MAX = 16  # a lease costs 40 writes a minute: 16 of them are 11 writes a second (docs/scale.md)


def shard(namespace: str, name: str, shards: int) -> int:
    """Return the shard of a job, from 0 to `shards` - 1; the same in every process of that count.

    By name, not by UID: a job and a predecessor of its name, whose objects are in its way, have one shard.
    """
    if shards == 1:
        return 0
    return int.from_bytes(sha256(f"{namespace}/{name}".encode()).digest()[:4]) % shards


def lease(number: int) -> str:
    """Return the name of a shard's lease. That of shard 0 is the same whatever the count: it says which count holds."""
    return OPERATOR_LEASE if number == 0 else f"{OPERATOR_LEASE}-{number}"
