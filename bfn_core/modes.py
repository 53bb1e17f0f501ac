"""A network's mode, of training or not, lent and given back."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def modes_kept(module: nn.Module) -> Iterator[list[tuple[nn.Module, bool]]]:
    """Afterwards every submodule is in the mode, of training or not, that it was in. Lends the list
    of them, each with that mode.
    """
    modes = [(part, part.training) for part in module.modules()]
    try:
        yield modes
    finally:
        for part, mode in modes:
            if part.training != mode:  # to set an attribute of a module takes long
                part.training = mode


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Dropout and the like off inside; afterwards every submodule is in the mode it was in."""
    with modes_kept(module) as modes:
        if any(training for _, training in modes):
            module.eval()
        yield
