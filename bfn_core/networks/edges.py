"""A network over the edges of a graph that cannot tell nodes apart by their names.

Whoever swaps two nodes of a graph has swapped its edges, and nothing else: a guess about the graph
should be swapped alike. This network does so for every permutation, by its build: an edge looks at
itself, at the edges that share a node with it, and at all; never at a number of a node.
"""

import torch
from torch import Tensor, nn

from bfn_core.data.trees import pairs
from bfn_core.networks.mlp import clock, octaves


class EdgeLayer(nn.Module):
    """Each pair of nodes (i, j) takes in what the others know.

    What it reads, beside its own features: Σ_k u_ik v_kj, which is about the ways i – k – j; the
    means over the pairs of i and over those of j, added, for (i, j) is the same pair as (j, i); and
    the mean over all pairs.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.sides = nn.Linear(width, 2 * width)
        self.mix = nn.Sequential(nn.Linear(4 * width, 2 * width), nn.GELU(),
                                 nn.Linear(2 * width, width))

    def forward(self, h: Tensor) -> Tensor:
        """h (B, n, n, width), symmetric in the nodes, to the same."""
        z, nodes = self.norm(h), h.shape[1]
        u, v = self.sides(z).chunk(2, -1)
        apart = 1 - torch.eye(nodes, dtype=z.dtype, device=z.device).unsqueeze(-1)
        u, v = u * apart, v * apart  # a node is no neighbour of its own
        ways = torch.einsum("bikw,bkjw->bijw", u, v) / nodes
        ways = ways + ways.transpose(1, 2)
        around = (z * apart).mean(2)  # (B, n, width)
        both = around.unsqueeze(1) + around.unsqueeze(2)
        everything = around.mean(1)[:, None, None].expand_as(z)
        return h + self.mix(torch.cat([z, ways, both, everything], -1))


class EdgeNetwork(nn.Module):
    """Guesses all edges of a graph: (B, E, K) probabilities to (B, E, K) logits.

    E = n(n − 1)/2 pairs in the order of `bfn_core.data.trees.pairs`. The logarithm of the belief is
    added to what the layers say, so that they need not learn it. Equivariant under every
    permutation of the nodes.

    Args:
        nodes: n, at least 3.
        classes: K, kinds of edge, "none" among them.
        width: features of a pair.
        depth: layers.
        frequencies: pairs of sines and cosines of t.
    """

    def __init__(
        self, nodes: int, classes: int, width: int = 32, depth: int = 3, *, frequencies: int = 4
    ) -> None:
        super().__init__()
        self.nodes = nodes
        self.frequencies: Tensor
        self.pairs: Tensor
        self.register_buffer("frequencies", octaves(frequencies))
        self.register_buffer("pairs", pairs(nodes))
        self.inlet = nn.Linear(classes + 2 * frequencies, width)
        self.layers = nn.Sequential(*[EdgeLayer(width) for _ in range(depth)])
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, classes))

    def forward(self, inputs: Tensor, t: Tensor) -> Tensor:
        waves = clock(t, self.frequencies).unsqueeze(1).expand(-1, inputs.shape[1], -1)
        features = self.inlet(torch.cat([inputs, waves], -1))
        i, j = self.pairs
        h = features.new_zeros(len(inputs), self.nodes, self.nodes, features.shape[-1])
        h[:, i, j] = h[:, j, i] = features
        said = self.head(self.layers(h)[:, i, j])
        return said + inputs.clamp(min=1e-9).log()
