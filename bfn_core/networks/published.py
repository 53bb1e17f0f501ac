"""The three networks of the paper's own models, to the parameter: their published weights fit.

`PublishedUNet` reads binary images (MNIST, 24.8 million parameters), `PublishedVDM` images of grey
levels (CIFAR-10, 30.7 million), `PublishedTransformer` text (text8, 170 million). Parameters have
the names that they have in the published files, where "net." stands before each. By default they
are of the published sizes.

Tested: outputs against those of the authors' code, for random weights, on a CPU, at small and at
full size, to 1e−5 (outputs are about 2 in size); the names and shapes of all tensors of the five
published files. Not tested: the files themselves, which were not at hand.

Under `in_half` what reads the belief and the time, and what writes the output, keeps single
precision: a time of 0.999, or a pixel to one grey level in 256, is more than 16 bits can tell.

Source: Graves et al. 2023, arXiv 2308.07037, and the sizes of its published models; the U-Net is
that of Nichol and Dhariwal 2021, arXiv 2102.09672; the other that of Kingma et al. 2021,
"Variational Diffusion Models", arXiv 2107.00630; the transformer is a GPT that sees both sides.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import ClassVar, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bfn_core.networks.attention import attend, zeroed


class Published(nn.Module):
    """What the three share."""

    EDGES: ClassVar[tuple[str, ...]]  # modules that stay in single precision
    UNUSED: ClassVar[dict[str, tuple[int, ...]]] = {}  # tensors that a file holds for no use

    def body_dtype(self) -> torch.dtype:
        """The precision of what lies between the edges."""
        inner = (m for name, m in self.named_children() if name not in self.EDGES)
        return next(p.dtype for m in inner for p in m.parameters())


Network = TypeVar("Network", bound=Published)


def in_half(network: Network, dtype: torch.dtype) -> Network:
    """The network with all but its edges in torch.float16 or torch.bfloat16, in place.

    An edge is registered first: a BFN makes what a network reads as precise as its first weights.
    """
    for name, module in network.named_children():
        if name not in network.EDGES:
            module.to(dtype)
    return network


def conv3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """3 × 3, with a margin of zeros."""
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1)


def normed(groups: int, width: int, *layers: nn.Module) -> nn.Sequential:
    """A group norm over `width` channels, SiLU, and the layers."""
    return nn.Sequential(nn.GroupNorm(groups, width), nn.SiLU(), *layers)


def joined(x: Tensor, h: Tensor) -> Tensor:
    """What each pixel's last linear map reads: x and then h, (B, H, W, both channels)."""
    return torch.cat([x, h.to(x.dtype)], 1).movedim(1, -1)


# MNIST


class UNetBlock(nn.Module):
    """Two convolutions; the time's embedding is added to each pixel between them."""

    def __init__(self, inputs: int, outputs: int, times: int, groups: int, dropout: float) -> None:
        super().__init__()
        self.in_layers = normed(groups, inputs, conv3(inputs, outputs))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(times, outputs))
        last = zeroed(conv3(outputs, outputs))
        self.out_layers = normed(groups, outputs, nn.Dropout(dropout), last)
        same = inputs == outputs
        self.skip_connection = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        h = self.in_layers(x) + self.emb_layers(time)[:, :, None, None]
        return self.skip_connection(x) + self.out_layers(h)


class UNetAttention(nn.Module):
    """Attention of every pixel to every other, added to its input."""

    def __init__(self, width: int, heads: int, groups: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(groups, width)
        self.qkv = nn.Conv1d(width, 3 * width, 1)
        self.proj_out = zeroed(nn.Conv1d(width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.qkv(self.norm(x).flatten(2)).transpose(1, 2)  # (B, H·W, 3 · width)
        # The queries, keys and values of a head stand together; `attend` has all queries first.
        qkv = qkv.unflatten(2, (self.heads, 3, -1)).transpose(2, 3).flatten(2)
        h = self.proj_out(attend(qkv, self.heads).transpose(1, 2))
        return x + h.unflatten(2, x.shape[2:])


class Halved(nn.Module):
    """From H × W pixels to half as many each way."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.op = conv3(width, width, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.op(x)


class Doubled(nn.Module):
    """Each pixel four times, and a convolution over them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = conv3(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Entry(nn.ModuleList):
    """Modules one after the other, of which the residual blocks are told the time."""

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        for module in self:
            x = module(x, time) if isinstance(module, UNetBlock) else module(x)
        return x


class PublishedUNet(Published):
    """The U-Net of the paper's MNIST model: `network(inputs, t)`.

    inputs: (B, 1, H, W, 2) probabilities of the two classes; t: (B,) in [0, 1]. Returns two logits
    for each pixel, (B, 1, H, W, 2), of which the first is 0 and the second ln P(1)/P(0). H and W
    must be divisible by 2 as often as there are multipliers, less one.

    Args:
        classes: 2; no other number is possible.
        channels: of the first level.
        multipliers: channels of each level, as multiples of that; the first is 1.
        blocks: residual blocks of each level on the way down, and one more on the way up.
        heads: of the one attention, at the lowest level.
        groups: of each group norm; a divisor of channels.
        dropout: rate, in every block.

    Raises:
        ValueError: more than two classes, or a first multiplier other than 1.
    """

    EDGES = ("input_projection", "time_embed", "output_adapter")
    UNUSED: ClassVar = {"input_adapter.pos_feats": (784, 258)}  # positions, switched off

    def __init__(
        self, classes: int = 2, *, channels: int = 128, multipliers: tuple[int, ...] = (1, 2, 2),
        blocks: int = 2, heads: int = 4, groups: int = 32, dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if classes != 2:
            raise ValueError(f"classes must be 2, got {classes}")
        if multipliers[0] != 1:
            raise ValueError(f"multipliers must begin with 1, got {tuple(multipliers)}")
        c, times, widths = channels, 4 * channels, [channels * m for m in multipliers]
        self.input_projection = nn.Linear(2, c)
        self.time_embed = nn.Sequential(nn.Linear(c, times), nn.SiLU(), nn.Linear(times, times))

        def block(inputs: int, outputs: int) -> UNetBlock:
            return UNetBlock(inputs, outputs, times, groups, dropout)

        down, kept = [Entry([conv3(c, c)])], [c]  # kept: the channels of each output
        for level, width in enumerate(widths):
            if level:
                down.append(Entry([Halved(kept[-1])]))
                kept.append(kept[-1])
            for _ in range(blocks):
                down.append(Entry([block(kept[-1], width)]))
                kept.append(width)
        self.input_blocks = nn.ModuleList(down)
        low = widths[-1]
        middle = [block(low, low), UNetAttention(low, heads, groups), block(low, low)]
        self.middle_block = Entry(middle)
        up, before = [], low
        for level, width in reversed(list(enumerate(widths))):
            for index in range(blocks + 1):
                entry = Entry([block(before + kept.pop(), width)])
                if level and index == blocks:
                    entry.append(Doubled(width))
                up.append(entry)
                before = width
        self.output_blocks = nn.ModuleList(up)
        self.out = normed(groups, c, zeroed(conv3(c, c)))
        self.output_adapter = nn.ModuleDict({"output_projection": nn.Linear(2 * c, 1)})

    def forward(self, inputs: Tensor, t: Tensor) -> Tensor:
        if inputs.dim() != 5 or inputs.shape[1] != 1 or inputs.shape[-1] != 2:
            raise ValueError(f"inputs must be (B, 1, H, W, 2), got {tuple(inputs.shape)}")
        belief = 2 * inputs[:, 0, ..., 0] - 1  # of class 0
        time = (2 * t - 1).reshape(-1, 1, 1).expand_as(belief)
        x = self.input_projection(torch.stack([belief, time], -1)).movedim(-1, 1)  # (B, c, H, W)
        k = torch.arange(x.shape[1] // 2, dtype=torch.float32, device=t.device)
        angles = (t * 4000).unsqueeze(1) * torch.exp(-math.log(10000) * k / len(k))
        time = self.time_embed(torch.cat([angles.cos(), angles.sin()], 1))
        # Contiguous, since torch's group norm is less exact with the channels last in memory.
        h, time = x.contiguous().to(self.body_dtype()), time.to(self.body_dtype())
        stack = []
        for entry in self.input_blocks:
            h = entry(h, time)
            stack.append(h)
        h = self.middle_block(h, time)
        for entry in self.output_blocks:
            h = entry(torch.cat([h, stack.pop()], 1), time)
        odds = self.output_adapter["output_projection"](joined(x, self.out(h)))  # (B, H, W, 1)
        return torch.stack([torch.zeros_like(odds), odds], -1).movedim(3, 1)


# CIFAR-10

NAME = "resnet_block"  # of the one module in each entry


class VDMBlock(nn.Module):
    """Two convolutions; the time's embedding is added to each pixel between them."""

    def __init__(self, inputs: int, width: int, times: int, groups: int, dropout: float) -> None:
        super().__init__()
        self.net1 = normed(groups, inputs, conv3(inputs, width))
        self.cond_proj = zeroed(nn.Linear(times, width, bias=False))
        self.net2 = normed(groups, width, nn.Dropout(dropout), zeroed(conv3(width, width)))
        self.skip_conv = nn.Identity() if inputs == width else nn.Conv2d(inputs, width, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        h = self.net1(x) + self.cond_proj(time)[:, :, None, None]
        return self.skip_conv(x) + self.net2(h)


class VDMAttention(nn.Module):
    """Attention of every pixel to every other, in one head, added to its input."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        read, write = nn.Conv2d(width, 3 * width, 1), zeroed(nn.Conv2d(width, width, 1))
        self.layers = nn.ModuleList([nn.GroupNorm(groups, width), read, nn.Identity(), write])

    def forward(self, x: Tensor) -> Tensor:
        norm, read, _, write = self.layers
        h = attend(read(norm(x)).flatten(2).transpose(1, 2), heads=1)
        return x + write(h.transpose(1, 2).unflatten(2, x.shape[2:]))


class PublishedVDM(Published):
    """The U-Net without levels of the paper's CIFAR-10 models: `network(inputs, t)`.

    inputs: (B, C, H, W) means; t: (B,) in [0, 1]. Returns (B, C, H, W, 2) for discretised data, and
    (B, C, H, W) for continuous.

    Args:
        outputs: 2 for discretised data, 1 for continuous.
        image_channels: C.
        channels: of every block.
        blocks: residual blocks on the way down, and one more on the way up.
        groups: of each group norm; a divisor of channels.
        dropout: rate, in every block.
    """

    EDGES = ("embed_conditioning", "conv_in", "output_adapter")
    UNUSED: ClassVar = {"input_adapter.pos_feats": (1024, 258)}  # positions, switched off

    def __init__(
        self, outputs: int = 2, *, image_channels: int = 3, channels: int = 128, blocks: int = 32,
        groups: int = 32, dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.outputs, self.image_channels, self.channels = outputs, image_channels, channels
        c, times = channels, 4 * channels
        self.embed_conditioning = nn.Sequential(
            nn.Linear(c, times), nn.SiLU(), nn.Linear(times, times), nn.SiLU()
        )
        self.conv_in = conv3(5 * image_channels, c)

        def block(inputs: int) -> VDMBlock:
            return VDMBlock(inputs, c, times, groups, dropout)

        def entries(count: int, inputs: int) -> nn.ModuleList:
            return nn.ModuleList(nn.ModuleDict({NAME: block(inputs)}) for _ in range(count))

        self.down_blocks = entries(blocks, c)
        self.mid_resnet_block_1 = block(c)
        self.mid_attn_block = VDMAttention(c, groups)
        self.mid_resnet_block_2 = block(c)
        self.up_blocks = entries(blocks + 1, 2 * c)
        self.conv_out = normed(groups, c, zeroed(conv3(c, c)))
        last = nn.Linear(image_channels + c, image_channels * outputs)
        self.output_adapter = nn.ModuleDict({"output_projection": last})

    def forward(self, inputs: Tensor, t: Tensor) -> Tensor:
        if inputs.dim() != 4 or inputs.shape[1] != self.image_channels:
            raise ValueError(
                f"inputs must be (B, {self.image_channels}, H, W), got {tuple(inputs.shape)}"
            )
        angles = [2 * math.pi * 2**k * inputs for k in (5, 6)]  # one and two turns per 8 levels
        waves = [a.sin() for a in angles] + [a.cos() for a in angles]
        h = self.conv_in(torch.cat([inputs, *waves], 1)).to(self.body_dtype())
        speeds = torch.logspace(0, -4, self.channels // 2, device=t.device)
        angles = ((t + 0.001) * 1000).unsqueeze(1) * speeds
        time = self.embed_conditioning(torch.cat([angles.sin(), angles.cos()], 1)).to(h.dtype)
        stack = [h]
        for entry in self.down_blocks:
            h = entry.get_submodule(NAME)(h, time)
            stack.append(h)
        h = self.mid_attn_block(self.mid_resnet_block_1(h, time))
        h = self.mid_resnet_block_2(h, time)
        for entry in self.up_blocks:
            h = entry.get_submodule(NAME)(torch.cat([h, stack.pop()], 1), time)
        raw = self.output_adapter["output_projection"](joined(inputs, self.conv_out(h)))
        raw = raw.unflatten(-1, (self.image_channels, self.outputs)).movedim(3, 1)
        return raw if self.outputs > 1 else raw.squeeze(-1)


# text8


class Attention(nn.Module):
    """Attention of every position to every other."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.c_attn = nn.Linear(width, 3 * width)
        self.c_proj = nn.Linear(width, width)
        self.resid_dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.resid_dropout(self.c_proj(attend(self.c_attn(x), self.heads)))


class MLP(nn.Module):
    """Two layers, the inner one four times as wide."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.c_proj = nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.c_proj(F.gelu(self.c_fc(x), approximate="tanh")))


class Layer(nn.Module):
    """Attention and an MLP, each reading a normalised x and added to it."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.ln_1, self.attn = nn.LayerNorm(width), Attention(width, heads, dropout)
        self.ln_2, self.mlp = nn.LayerNorm(width), MLP(width, dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Inlet(nn.Module):
    """Belief, position and time, each made `width` numbers and added."""

    def __init__(self, classes: int, length: int, width: int) -> None:
        super().__init__()
        self.inp_embedding = nn.Linear(classes, width)
        self.t_embedding = nn.Linear(1, width)
        # On the CPU first: for the device "meta" torch would load much, and take seconds.
        i = torch.arange(width, device="cpu")
        angles = torch.arange(length, device="cpu")[:, None] / 1000 ** (i / width)
        positions = torch.where(i % 2 == 0, angles.sin(), angles.cos())
        self.pos_embedding: Tensor
        self.register_buffer("pos_embedding", positions.to(self.t_embedding.weight.device))

    def forward(self, inputs: Tensor, t: Tensor) -> Tensor:
        time = self.t_embedding((2 * t - 1).reshape(-1, 1, 1))
        return self.inp_embedding(2 * inputs - 1) + self.pos_embedding[: inputs.shape[1]] + time


class PublishedTransformer(Published):
    """The transformer of the paper's text8 model: `network(inputs, t)`.

    inputs: (B, L, K) probabilities; t: (B,) in [0, 1]. Returns K logits for each position,
    (B, L, K). The paper's was trained with L = `length` alone; shorter sequences are read too.

    Args:
        classes: K.
        length: the longest sequence that it can read.
        layers: of attention and MLP, one after the other.
        heads: of each attention; a divisor of width.
        width: numbers that stand for a position.
        dropout: rate; but none on the attention's weights, and the paper's is 0.

    Raises:
        ValueError: heads that do not divide width, or inputs that are not (B, ≤ length, K).
    """

    EDGES = ("input_adapter", "lm_head")

    def __init__(
        self, classes: int = 27, length: int = 256, *, layers: int = 24, heads: int = 12,
        width: int = 768, dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"heads must divide width, got {heads} heads and a width of {width}")
        self.classes, self.length = classes, length
        self.input_adapter = Inlet(classes, length, width)
        self.transformer = nn.Sequential(OrderedDict(
            drop=nn.Dropout(dropout),
            h=nn.Sequential(*[Layer(width, heads, dropout) for _ in range(layers)]),
            ln_f=nn.LayerNorm(width),
        ))
        self.lm_head = nn.Linear(2 * width, classes)
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear):
                last = name.endswith("c_proj")
                std = 0.02 / math.sqrt(2 * layers) ** last
                if not module.weight.is_meta:  # there torch would load much for nothing
                    nn.init.normal_(module.weight, std=std)
                nn.init.zeros_(module.bias)

    def forward(self, inputs: Tensor, t: Tensor) -> Tensor:
        size = inputs.shape[1] if inputs.dim() == 3 else 0
        if not 0 < size <= self.length or inputs.shape[2] != self.classes:
            raise ValueError(
                f"inputs must be (B, L, {self.classes}) with L up to {self.length}, got "
                f"{tuple(inputs.shape)}"
            )
        x = self.input_adapter(inputs, t)
        h = self.transformer(x.to(self.body_dtype()))
        return self.lm_head(torch.cat([h.to(x.dtype), x], 2))
