"""What workers are told of spec.liveConfig, by answers to reports and by the environment of new pods. Pure."""

from typing import Any

import msgspec

from ganger.api.types import TrainingJobSpec
from ganger.contract import LIVE_CONFIG_BYTES_MAX


def served(spec: TrainingJobSpec) -> dict[str, Any] | None:
    """Return the settings that are asked for, all of them; None where workers are told nothing."""
    return None if spec.task is None or is_too_large(spec) else spec.live_config


def is_too_large(spec: TrainingJobSpec) -> bool:
    """Whether the settings would fill the answers and reports that carry them."""
    return bool(spec.live_config) and len(msgspec.json.encode(spec.live_config)) > LIVE_CONFIG_BYTES_MAX
