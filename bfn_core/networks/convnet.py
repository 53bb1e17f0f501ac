"""A small convolutional classifier, whose last but one layer says what is in an image."""

import torch.nn.functional as F
from torch import Tensor, nn


class ConvNet(nn.Module):
    """Reads images, (B, C, H, W) in [−1, 1], height and width multiples of 2; gives class logits.

    Each 2 × 2 square of pixels becomes a column of 4 C channels; five 3 × 3 convolutions with batch
    norm follow, of which the third and fifth halve height and width, and a mean over the places.

    Args:
        image_channels: C.
        classes: of the logits.
        widths: channels of the convolutions; the last is the number of features.
    """

    def __init__(
        self, image_channels: int, classes: int = 10, widths: tuple[int, ...] = (32, 32, 64, 64, 64)
    ) -> None:
        super().__init__()
        entering = (4 * image_channels, *widths[:-1])
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=2 if i in (2, 4) else 1, padding=1, bias=False)
            for i, (a, b) in enumerate(zip(entering, widths, strict=True))
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths)
        self.head = nn.Linear(widths[-1], classes)

    def features(self, x: Tensor) -> Tensor:
        """(B, widths[-1]): what the logits are a linear function of."""
        h = F.pixel_unshuffle(x, 2)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            h = F.silu(norm(conv(h)))
        return h.mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))
