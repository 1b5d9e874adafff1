"""The trainer of Ganger: the loop, its checkpoints and the supervisor that runs it in a pod.

Tasks import `TrainConfig`, `Live` and `UserError` from here, scripts `report`, `should_save`, `should_stop` and
`checkpoint_dir`, notebooks `from_job`. Importing this package does not import torch.
"""

from ganger_trainer.config import Live, TrainConfig
from ganger_trainer.failures import UserError
from ganger_trainer.helper import checkpoint_dir, report, should_save, should_stop
from ganger_trainer.opened import from_job

__all__ = ["Live", "TrainConfig", "UserError", "checkpoint_dir", "from_job", "report", "should_save", "should_stop"]
