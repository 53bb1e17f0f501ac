"""Looking inside a network while it computes: what its layers put out, and who reads whom."""

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from bfn_core.modes import evaluating


def activations(network: nn.Module, layers: dict[str, nn.Module], *inputs) -> dict[str, Tensor]:
    """What each of some layers puts out while network(*inputs) is computed, by name."""
    found: dict[str, Tensor] = {}

    def keep(name, module, given, result):
        found[name] = result.detach()

    hooks = [layer.register_forward_hook(partial(keep, name)) for name, layer in layers.items()]
    try:
        with torch.no_grad(), evaluating(network):
            network(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def attention_weights(network: nn.Module, inputs: Tensor, t: Tensor) -> Tensor:
    """Who reads whom: softmax(q kᵀ / √width) of every block, (layers, B, heads, L, L).

    Row l of a matrix says where position l looks; it sums to 1.

    Args:
        network: a transformer with `blocks` that have `qkv` and `heads`, and with learned
            positions.
        inputs, t: as for the network.
    """
    blocks: Any = network.blocks
    layers = {str(i): block.qkv for i, block in enumerate(blocks)}
    found = activations(network, layers, inputs, t)
    weights = []
    for name, block in enumerate(blocks):
        q, k, _ = found[str(name)].unflatten(-1, (3, block.heads, -1)).permute(2, 0, 3, 1, 4)
        weights.append((q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(-1))
    return torch.stack(weights)
