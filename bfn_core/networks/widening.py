"""The weights of a trained U-Net for a wider one that computes the same, and has room to learn.

Channels are repeated, whole groups and whole heads at a time, so that every norm sees the
statistics it saw, and what reads a channel and its copies reads each in a share; the shares are
drawn anew for each weight and sum to 1, so that the copies learn different things from the first
step on. Source: Chen et al. 2016, "Net2Net", arXiv 1511.05641 (Net2WiderNet).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn

from bfn_core.networks.unet import Attention, Block, DepthwiseBlock, Norm, UNet

Parts = list[int] | None  # widths side by side in the wider network; None: of another kind

LABELS = "conditions.label.weight"  # one row for each label, as wide as the time's embedding


def widened(weights: dict[str, Tensor], network: UNet, seed: int = 0) -> dict[str, Tensor]:
    """Weights with which `network` computes what a narrower one computes.

    Args:
        weights: of a U-Net that differs in `channels` alone, by name. (If it was not told what
            this one is, a label or hints, those weights are missing in what is returned too.)
        network: the wider one. Its values are not used.
        seed: of the shares.

    Raises:
        ValueError: it cannot compute the same: it has other layers; it is not wider; or a group
            of a norm, or a head of the attention, could not be repeated as a whole.
    """
    old, new = len(weights.get("first.weight", ())), network.first.out_channels
    if not 0 < old < new:
        raise ValueError(f"a network of {new} channels is not wider than one of {old}")
    generator = torch.Generator().manual_seed(seed)
    for layer in network.modules():  # groups grow where there would be more than the most
        if isinstance(layer, Norm):
            narrow = layer.num_channels * old // new
            if group(layer) != group(Norm(narrow)):
                raise ValueError(f"norms of {narrow} and {layer.num_channels} channels have groups "
                                 "of different sizes")
    told, found = dict(layers(network)), {}

    def copies(parts: Parts, unit: int, size: int) -> Tensor:
        """Which channel of the narrower network each one of the wider is, (sum of parts,)."""
        if parts is None:
            return torch.arange(size)
        all_of, before = [], 0
        for part in parts:
            narrow = part * old // new
            if narrow % unit or part % unit or narrow * new != part * old:
                raise ValueError(f"{narrow} channels cannot be repeated to {part}, {unit} at a "
                                 "time")
            all_of.append(before + torch.arange(part) % narrow)
            before += narrow
        if before != size:
            raise ValueError(f"{size} channels stand where {before} are expected")
        return torch.cat(all_of)

    for name, w in weights.items():
        if name == LABELS:
            found[name] = w[:, copies([time_width(network)], 1, w.shape[1])]
            continue
        layer, _, kind = name.rpartition(".")
        if layer not in told:
            raise ValueError(f"no layer of the network is called {layer}")
        into, out, unit = told[layer]
        wide = w[copies(out, unit, len(w))]
        if kind == "weight" and w.dim() > 1:
            of = copies(into, 1, w.shape[1])
            chances = torch.rand(wide.shape[:1] + of.shape, generator=generator).double() + 0.1
            whole = chances.new_zeros(wide.shape[:2]).index_add_(1, of, chances)
            shares = (chances / whole[:, of]).reshape(*chances.shape, *[1] * (w.dim() - 2))
            wide = (wide[:, of] * shares).to(w.dtype)
        found[name] = wide
    return found


def layers(network: UNet) -> Iterator[tuple[str, tuple[Parts, Parts, int]]]:
    """By name, what each layer with weights reads and writes, and how many channels of what it
    writes belong together.
    """
    channels, time = network.first.out_channels, time_width(network)
    yield "first", (None, [channels], 1)
    yield "time.layers.0", (None, [time], 1)
    yield "time.layers.2", ([time], [time], 1)
    yield "norm", (None, [channels], group(network.norm))
    yield "last", ([channels], None, 1)
    for name, block in network.named_modules():
        if isinstance(block, (Block, DepthwiseBlock)):
            width = block.conv2.out_channels
            into = [block.skip.in_channels if isinstance(block.skip, nn.Conv2d) else width]
            if name.startswith("up."):  # what came up, beside what its mirror image gave
                into = [into[0] - width, width]
            for layer, told in of_block(block, into, width, time):
                yield f"{name}.{layer}", told


def of_block(
    block: Block | DepthwiseBlock, into: list[int], width: int, time: int
) -> Iterator[tuple[str, tuple[Parts, Parts, int]]]:
    """The same for a block."""
    if isinstance(block, DepthwiseBlock):
        yield "around", (None, [width], 1)  # each channel reads itself
        yield "norm", (None, [width], group(block.norm))
        yield "conv1", ([width], [4 * width], 1)
        yield "conv2", ([4 * width], [width], 1)
    else:
        yield "norm1", (None, into, group(block.norm1))
        yield "conv1", (into, [width], 1)
        yield "norm2", (None, [width], group(block.norm2))
        yield "conv2", ([width], [width], 1)
    yield "time", ([time], [width] * 2, 1)
    yield "skip", (into, [width], 1)
    if isinstance(block.attention, Attention):
        yield "attention.norm", (None, [width], group(block.attention.norm))
        yield "attention.qkv", ([width], [width] * 3, width // block.attention.heads)
        yield "attention.out", ([width], [width], 1)


def group(layer: Norm) -> int:
    """Channels of a group of a norm."""
    return layer.num_channels // layer.num_groups


def time_width(network: UNet) -> int:
    """Numbers in the embedding of the time."""
    return cast(nn.Linear, network.time.layers[0]).out_features
