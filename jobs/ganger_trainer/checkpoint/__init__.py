"""Checkpoints that survive kill -9, full disks and two writers.

Safetensors shards under a hashed manifest, never pickle. Layout of a checkpoint directory:
  LOCK  FENCE        whose directory this is, and the highest attempt that may write
  step_450/          committed: manifest.json and one rank-00000.safetensors per rank
  step_500.tmp-2/    being written by attempt 2; removed at the next start
  step_400.corrupt   failed verification; never loaded, kept for people to look at
Why it is done so: docs/adr/0005-checkpoint-format.md.
"""
