"""What `spec.data` names, fetched once for all who share a cache (docs/adr/0029-data.md).

`python -m ganger_trainer.fetch` runs before the worker. torch is not imported.
"""
