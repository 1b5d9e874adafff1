"""Model files of a checkpoint: made by a process of their own, and compared with the model before they count.

`python -m ganger_trainer.export` makes what the environment asks for; `verify` proves that a file is the one that was
made. Importing this package does not import torch. Why it is done so: docs/adr/0027-exports.md.
"""

from ganger_trainer.export.card import Card, InvalidError, verify

__all__ = ["Card", "InvalidError", "verify"]
