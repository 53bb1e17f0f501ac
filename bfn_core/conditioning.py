"""The earlier name of `bfn_core.infilling`."""

from bfn_core.infilling import Filling, FillingStep, effective, fill, filling_steps

__all__ = ["Filling", "FillingStep", "effective", "fill", "filling_steps"]
