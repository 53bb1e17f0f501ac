"""A U-Net in one dimension, for short pieces of sound that all begin at the same moment."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bfn_core.networks.attention import attend, zeroed
from bfn_core.networks.unet import Norm, TimeEmbedding


class WaveUNet(nn.Module):
    """A U-Net in one dimension, as a body of `WaveNetwork`: (B, L), (B,) -> (B, L + L / 16).

    Three levels of 4, 16 and 32 samples to a position, joined by strided convolutions, with two
    residual blocks of convolutions over five positions on each way; the way up adds what the way
    down had at the same level. At the two lower levels every position attends to all others, so
    that what came a period before can be found wherever it is. Each position has learned features
    of its own, since all sounds begin at the same moment. Untrained, it returns 0.

    Args:
        length: L, a multiple of 32.
        channels: at the three levels, multiples of the number of heads, 4.

    Raises:
        ValueError: a length that is no multiple of 32.
    """

    STRIDES = (4, 16, 32)  # samples to a position

    def __init__(self, length: int = 1024, channels: tuple[int, int, int] = (32, 64, 96)) -> None:
        super().__init__()
        if length % 32:
            raise ValueError(f"length must be a multiple of 32, got {length}")
        one, two, three = channels
        time = 4 * one
        self.time = TimeEmbedding(time)
        self.first = nn.Conv1d(1, one, 16, stride=4, padding=6)
        self.place = nn.ParameterList(torch.zeros(c, length // s)
                                      for c, s in zip(channels, self.STRIDES, strict=True))
        self.fall = nn.ModuleList([nn.Conv1d(one, two, 4, stride=4),
                                   nn.Conv1d(two, three, 2, stride=2)])
        self.rise = nn.ModuleList([nn.ConvTranspose1d(two, one, 4, stride=4),
                                   nn.ConvTranspose1d(three, two, 2, stride=2)])

        def pair(width: int, far: bool) -> nn.ModuleList:
            return nn.ModuleList([Block(width, time, far), Block(width, time, far)])

        self.down = nn.ModuleList([pair(one, False), pair(two, True), pair(three, True)])
        self.up = nn.ModuleList([pair(one, False), pair(two, True)])
        self.norm = Norm(one)
        self.wave = zeroed(nn.ConvTranspose1d(one, 1, 16, stride=4, padding=6))
        self.width = zeroed(nn.Conv1d(one, 1, 4, stride=4))

    def forward(self, inputs: Tensor, t: Tensor) -> Tensor:
        time, h, skips = self.time(t), self.first(inputs.unsqueeze(1)), []
        for level, blocks in enumerate(self.down):
            h = h + self.place[level]
            for block in blocks:  # pyright: ignore[reportGeneralTypeIssues]
                h = block(h, time)
            if level < 2:
                skips.append(h)
                h = self.fall[level](h)
        for level in (1, 0):
            h = self.rise[level](h) + skips[level]
            for block in self.up[level]:  # pyright: ignore[reportGeneralTypeIssues]
                h = block(h, time)
        h = F.silu(self.norm(h))
        return torch.cat([self.wave(h), self.width(h)], 2).squeeze(1)


class Block(nn.Module):
    """A residual block over positions, (B, C, P); with self-attention after it if it looks `far`.

    As `bfn_core.networks.unet.Block`, in one dimension. It starts without effect.
    """

    def __init__(self, width: int, time: int, far: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = Norm(width), Norm(width)
        self.conv1 = nn.Conv1d(width, width, 5, padding=2)
        self.conv2 = zeroed(nn.Conv1d(width, width, 5, padding=2))
        self.time = nn.Linear(time, 2 * width)
        self.attention = Attention(width) if far else nn.Identity()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        scale, shift = self.time(time).unsqueeze(2).chunk(2, 1)
        h = self.norm2(self.conv1(F.silu(self.norm1(x)))) * (1 + scale) + shift
        return self.attention(x + self.conv2(F.silu(h)))


class Attention(nn.Module):
    """Self-attention of four heads over the positions, (B, C, P). It starts as the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = Norm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = zeroed(nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(x).transpose(1, 2)
        return x + self.out(attend(self.qkv(tokens), 4)).transpose(1, 2)
