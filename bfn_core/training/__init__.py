"""Training: scales and settings, the loop, checkpoints, records of runs."""

from bfn_core.training.scales import SCALES, Settings, current_scale, settings_for

__all__ = ["SCALES", "Settings", "current_scale", "settings_for"]
