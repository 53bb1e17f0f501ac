"""A U-Net for images, from 0.1 to 30 million parameters by its arguments alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bfn_core.networks.attention import attend, zeroed
from bfn_core.networks.conditions import Conditions
from bfn_core.numerics import without_autocast
from bfn_core.schedules import GeometricSchedule


class UNet(nn.Module):
    """A U-Net with time conditioning, for any of the three flows: `network(inputs, t)`, or with a
    condition, `network(inputs, t, condition)`.

    inputs: (B, C, H, W) means (continuous and discretised data), or (B, C, H, W, K) probabilities
    (discrete data); t: (B,) in [0, 1]. What it returns depends on `outputs` and `classes`:

    | data        | arguments | input           | returns                                  |
    |-------------|-----------|-----------------|------------------------------------------|
    | continuous  | outputs=1 | (B, C, H, W)    | ε̂, (B, C, H, W)                          |
    | discretised | outputs=2 | (B, C, H, W)    | (μ_ε, ln σ_ε) stacked last, (B, C, H, W, 2) |
    | discrete    | classes=K | (B, C, H, W, K) | K logits, (B, C, H, W, K)                |

    Args:
        image_channels: C, 1 for grey and 3 for colour.
        outputs: numbers per pixel and image channel; ignored where `classes` is given.
        classes: K of discrete data; None for the others.
        channels: width at full resolution.
        multipliers: width at each level over `channels`; each level halves height and width.
        blocks: residual blocks per level on the way down, and again on the way up.
        depthwise: 0: residual blocks. An odd number k: ConvNeXt's blocks in their place, in which
            a k × k convolution of each channel for itself looks around, and two 1 × 1 convolutions
            mix the channels; see `DepthwiseBlock`.
        attention: levels (0 is full resolution) whose blocks are followed by self-attention.
        head_width: channels of an attention head; the width itself where it is smaller.
        dropout: rate within the residual blocks.
        patch: squares of patch × patch pixels become one position of the full resolution with
            patch² times the channels, and are taken apart again at the end. 2 makes a network
            of the same size several times as fast.
        fourier: pairs of Fourier features sin, cos(2^k π · input), k = 7, 8, …, beside the
            input. They show a network the differences between the bins of 8-bit data.
        differences: σ₁ of the flow (None: without). Beside the input come, for each image channel,
            the differences to its four neighbours and to the channel before, in units of the
            noise, √(γ(t)(1−γ(t))), through asinh. A network sees noise of any accuracy at one
            scale that way, and learns 8-bit data several times as fast.
        prior_skip: discrete data: add ln(probabilities) to the logits, so that an untrained
            network returns its input: what the messages alone say about each pixel.
        labels: classes of a label that the network may be told as a condition; 0: none.
        hints: channels of an image, (B, hints, H, W), that it may be told, see `Conditions`.

    Raises:
        ValueError: an input of another number of channels or classes, or whose height or width
            the levels cannot halve; differences of classes; an even `depthwise`.

    Compared with the paper's networks, which published.py has to the parameter. As there: residual
    blocks of group norm, SiLU and 3 × 3 convolutions, whose output each block on the way up gets
    from its mirror image on the way down; the time in every block; dropout within the blocks; one
    channel 2p − 1 for binary data (MNIST); Fourier features and the full resolution throughout,
    `multipliers=(1,)`, for 8-bit data (CIFAR-10). Different: the time scales the second norm as
    well as shifting it; levels are joined by average pooling and by doubling pixels; there are no
    blocks between the way down and the way up, where the paper's have their only attention, which
    here follows the blocks of chosen levels; and three things that are not published and speed up
    training, `patch`, `prior_skip` and `differences`.
    """

    def __init__(
        self,
        image_channels: int = 1,
        *,
        outputs: int = 1,
        classes: int | None = None,
        channels: int = 32,
        multipliers: Sequence[int] = (1, 2, 2),
        blocks: int = 2,
        depthwise: int = 0,
        attention: Sequence[int] = (2,),
        head_width: int = 32,
        dropout: float = 0.0,
        patch: int = 1,
        fourier: int = 0,
        differences: float | None = None,
        prior_skip: bool = True,
        labels: int = 0,
        hints: int = 0,
    ) -> None:
        super().__init__()
        if differences is not None and classes is not None:
            raise ValueError("differences are for means, not for the probabilities of classes")
        if depthwise < 0 or (depthwise and depthwise % 2 == 0):
            raise ValueError(f"depthwise must be 0, or odd and above it, got {depthwise}")
        self.image_channels, self.classes = image_channels, classes
        self.patch, self.fourier, self.differences = patch, fourier, differences
        self.outputs, self.hints = classes or outputs, hints
        self.prior_skip = prior_skip and classes is not None
        self.stride = patch * 2 ** (len(multipliers) - 1)

        planes = image_channels * (classes if classes and classes > 2 else 1)
        widths = [channels * m for m in multipliers]
        time = 4 * channels
        self.time = TimeEmbedding(time)
        planes *= 1 + 2 * fourier + (0 if differences is None else len(NEIGHBOURS) + 1)
        planes += hints
        self.conditions = Conditions(labels, hints, time)
        self.first = nn.Conv2d(planes * patch**2, widths[0], 3, padding=1)

        def block(level: int, width_in: int) -> Block | DepthwiseBlock:
            head = head_width if level in attention else None
            told = (width_in, widths[level], time, dropout, head)
            return DepthwiseBlock(*told, depthwise) if depthwise else Block(*told)

        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        below = [*widths[1:], widths[-1]]  # width of what comes up into each level
        for level, width in enumerate(widths):
            entering = [widths[max(level - 1, 0)], *[width] * (blocks - 1)]
            self.down.append(nn.ModuleList([block(level, w) for w in entering]))
            entering = [below[level], *[width] * (blocks - 1)]
            self.up.append(nn.ModuleList([block(level, w + width) for w in entering]))
        self.norm = Norm(widths[0])
        planes_out = image_channels * self.outputs * patch**2
        self.last = zeroed(nn.Conv2d(widths[0], planes_out, 3, padding=1))

    def forward(self, inputs: Tensor, t: Tensor, condition=None) -> Tensor:
        planes = self.planes(inputs, t)
        label, hints = self.conditions(condition, planes, channels=1)
        planes = planes if hints is None else torch.cat([planes, hints], 1)
        h = self.first(F.pixel_unshuffle(planes, self.patch))
        time = self.time(t) + label

        skips = []
        for level, stage in enumerate(self.down):
            if level > 0:
                h = F.avg_pool2d(h, 2)
            for block in stage:  # pyright: ignore[reportGeneralTypeIssues]
                h = block(h, time)
                skips.append(h)
        for level in reversed(range(len(self.up))):
            for block in self.up[level]:  # pyright: ignore[reportGeneralTypeIssues]
                h = block(torch.cat([h, skips.pop()], 1), time)
            if level > 0:
                h = F.interpolate(h, scale_factor=2, mode="nearest")

        raw = F.pixel_shuffle(self.last(F.silu(self.norm(h))), self.patch)  # (B, C·outputs, H, W)
        return self.from_planes(raw, inputs)

    def planes(self, inputs: Tensor, t: Tensor) -> Tensor:
        """What the first convolution reads, (B, planes, H, W)."""
        if self.classes is None:
            expected, got = (self.image_channels,), tuple(inputs.shape[1:2])
        else:
            expected = (self.image_channels, self.classes)
            got = (*inputs.shape[1:2], *inputs.shape[4:5])
        if got != expected or inputs.ndim != (4 if self.classes is None else 5):
            shape = "(B, C, H, W)" if self.classes is None else "(B, C, H, W, K)"
            sizes = "C" if self.classes is None else "(C, K)"
            raise ValueError(
                f"inputs have shape {tuple(inputs.shape)}, but {shape} with {sizes} = {expected} "
                "is expected"
            )
        if inputs.shape[2] % self.stride or inputs.shape[3] % self.stride:
            raise ValueError(
                f"inputs are {inputs.shape[2]} × {inputs.shape[3]} pixels, but height and width "
                f"must be multiples of {self.stride}"
            )
        if self.classes == 2:
            h = 2 * inputs[..., 1] - 1
        elif self.classes:
            h = (self.classes * inputs - 1).permute(0, 1, 4, 2, 3).flatten(1, 2)
        else:
            h = inputs
        beside = []
        if self.fourier:
            angles = [h * (2.0**k * math.pi) for k in range(7, 7 + self.fourier)]
            beside += [f(a) for a in angles for f in (torch.sin, torch.cos)]
        if self.differences is not None:
            beside += noise_differences(h, t, self.differences)
        return torch.cat([h, *beside], 1) if beside else h

    def from_planes(self, raw: Tensor, inputs: Tensor) -> Tensor:
        """The contract's shape of the last convolution's output."""
        if self.classes is None and self.outputs == 1:
            return raw
        raw = raw.unflatten(1, (self.image_channels, self.outputs)).permute(0, 1, 3, 4, 2)
        if self.prior_skip:
            raw = raw + inputs.clamp_min(1e-12).log()
        return raw


NEIGHBOURS = ((0, 1), (2, 1), (1, 0), (1, 2))  # above, below, left, right in a frame of 1 pixel


def noise_differences(mean: Tensor, t: Tensor, sigma_1: float) -> list[Tensor]:
    """asinh of each pixel's differences to its neighbours and to the channel before it (to the
    last one, for the first), in units of the noise; five tensors like mean, (B, C, H, W).
    """
    schedule = GeometricSchedule(sigma_1)
    # At t = 0 mean and noise are 0, and so the differences shall be.
    noise = (schedule.gamma(t) * schedule.rest(t)).clamp_min(1e-12).sqrt()[:, None, None, None]
    height, width = mean.shape[2:]
    framed = F.pad(mean, (1, 1, 1, 1), mode="replicate")
    others = [framed[:, :, i : i + height, j : j + width] for i, j in NEIGHBOURS]
    return [((other - mean) / noise).asinh() for other in [*others, mean.roll(1, 1)]]


class Norm(nn.GroupNorm):
    """Group norm with at least 8 channels to a group, and at most 32 groups.

    In float32 also under autocast to bf16: so autocast has it on a GPU, but not on a CPU, where
    the norm in bf16 takes three times as long, too.
    """

    def __init__(self, width: int) -> None:
        groups = max(1, min(32, width // 8))
        while width % groups:
            groups -= 1
        super().__init__(groups, width)

    def forward(self, x: Tensor) -> Tensor:
        with without_autocast(x.device.type):
            return super().forward(x.to(self.weight.dtype))


class TimeEmbedding(nn.Module):
    """t, (B,), as (B, width): sines and cosines of 2π t · 2^j / 4, j = 0…, through two layers."""

    def __init__(self, width: int, waves: int = 8) -> None:
        super().__init__()
        self.waves: Tensor
        self.register_buffer("waves", 2 * math.pi * 2.0 ** (torch.arange(waves) - 2.0),
                             persistent=False)
        self.layers = nn.Sequential(
            nn.Linear(2 * waves, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()
        )

    def forward(self, t: Tensor) -> Tensor:
        angles = t[:, None] * self.waves
        return self.layers(torch.cat([angles.sin(), angles.cos()], 1))


class Block(nn.Module):
    """A residual block; the time scales and shifts its second norm. It starts without effect.

    With a `head_width`, self-attention with heads of that width follows.
    """

    def __init__(
        self, width_in: int, width: int, time: int, dropout: float, head_width: int | None
    ) -> None:
        super().__init__()
        self.norm1, self.norm2 = Norm(width_in), Norm(width)
        self.conv1 = nn.Conv2d(width_in, width, 3, padding=1)
        self.conv2 = zeroed(nn.Conv2d(width, width, 3, padding=1))
        self.time = nn.Linear(time, 2 * width)
        self.dropout = nn.Dropout(dropout)
        self.skip = nn.Identity() if width_in == width else nn.Conv2d(width_in, width, 1)
        self.attention = Attention(width, head_width) if head_width else nn.Identity()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        scale, shift = self.time(time)[:, :, None, None].chunk(2, 1)
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.norm2(h) * (1 + scale) + shift
        return self.attention(self.skip(x) + self.conv2(self.dropout(F.silu(h))))


class DepthwiseBlock(nn.Module):
    """A residual block that looks around and mixes channels by turns; it starts without effect.

    A size × size convolution of each channel for itself, a norm that the time scales and shifts,
    and two 1 × 1 convolutions with four times the channels between them: the block of ConvNeXt
    (Liu et al. 2022, arXiv 2201.03545), whose layer norm is the U-Net's group norm here. Where
    the width changes, a 1 × 1 convolution changes it first. Its large kernel is cheap: a pixel
    costs size² · width + 8 · width² multiplications, and a residual block's 18 · width².

    With a `head_width`, self-attention with heads of that width follows.
    """

    def __init__(
        self, width_in: int, width: int, time: int, dropout: float, head_width: int | None,
        size: int,
    ) -> None:
        super().__init__()
        self.skip = nn.Identity() if width_in == width else nn.Conv2d(width_in, width, 1)
        self.around = nn.Conv2d(width, width, size, padding=size // 2, groups=width)
        self.norm = Norm(width)
        self.time = nn.Linear(time, 2 * width)
        self.conv1 = nn.Conv2d(width, 4 * width, 1)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = zeroed(nn.Conv2d(4 * width, width, 1))
        self.attention = Attention(width, head_width) if head_width else nn.Identity()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        scale, shift = self.time(time)[:, :, None, None].chunk(2, 1)
        x = self.skip(x)
        h = self.norm(self.around(x)) * (1 + scale) + shift
        h = self.dropout(F.gelu(self.conv1(h)))
        return self.attention(x + self.conv2(h))


class Attention(nn.Module):
    """Self-attention over the pixels, with a residual connection. It starts as the identity."""

    def __init__(self, width: int, head_width: int) -> None:
        super().__init__()
        self.heads = max(1, width // head_width)
        self.norm = Norm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = zeroed(nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        tokens = self.norm(x).permute(0, 2, 3, 1).flatten(1, 2)  # (B, H·W, c)
        h = self.out(attend(self.qkv(tokens), self.heads))
        return x + h.unflatten(1, (height, width)).permute(0, 3, 1, 2)
