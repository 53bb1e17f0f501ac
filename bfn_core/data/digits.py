"""scikit-learn's handwritten digits as they come: 8 × 8 pixels of 17 grey levels."""

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

LEVELS = 17  # a pixel counts the black ones among 16 finer pixels: 0…16


@dataclass(frozen=True)
class Digits:
    """1,797 images in three parts, by different hands; levels 0…16, int64, (N, 8, 8). Or their
    labels, the digits that they show, 0…9, int64, (N,).
    """

    train: Tensor
    validation: Tensor
    test: Tensor

    @property
    def fit(self) -> Tensor:
        """Everything but what is for the test."""
        return torch.cat([self.train, self.validation])


def digits(validation: int = 140, test: int = 360, *, labels: bool = False) -> Digits:
    """The digits, cut in the order of the file.

    The file goes from one writer to the next. A cut at random would put the same hand on both
    sides, and flatter every model; a cut in file order tests on hands that were never seen (but
    for one writer at the border).

    Args:
        validation, test: images at the end of the file that are kept apart.
        labels: give their labels in place of the images, in the same order.

    Raises:
        ValueError: nothing left to train on, or an empty part.
    """
    from sklearn.datasets import load_digits

    file = cast(Any, load_digits())
    images = torch.from_numpy(file.target if labels else file.images).long()
    if min(validation, test, len(images) - validation - test) < 1:
        raise ValueError(
            f"validation and test must leave something of {len(images)} images for each part, "
            f"got {validation} and {test}"
        )
    return Digits(*images.split([len(images) - validation - test, validation, test]))
