"""Labelled trees, as yes or no for each pair of nodes: Cayley counted them, so all is known."""

from __future__ import annotations

import itertools
from functools import lru_cache

import torch
from torch import Tensor

from bfn_core.checks import whole
from bfn_core.flows import DiscreteFlow

TREE_FLOW = DiscreteFlow(2, beta_1=9.0)  # of the edges, in notebook 15 and its record


def pairs(nodes: int) -> Tensor:
    """The pairs of nodes (i, j), i < j, in the order of the edges, (2, E) with E = n(n − 1)/2."""
    return torch.triu_indices(nodes, nodes, 1)


@lru_cache
def trees(nodes: int) -> Tensor:
    """All trees on labelled nodes, each once: (n^(n−2), E) int64, 1 where there is an edge.

    By Prüfer's code, which makes Cayley's formula plain: every word of n − 2 nodes is a tree. Write
    it from the front: the least leaf, a node that does not come again in the word, is joined to the
    word's first letter, and both are crossed out; the two nodes that are left are joined.

    Raises:
        ValueError: fewer than 3 nodes, or more than 8 (which has 262,144 trees).
    """
    if whole("nodes", nodes, 3) > 8:
        raise ValueError(f"nodes must be at most 8, got {nodes}")
    place = {pair: e for e, pair in enumerate(itertools.combinations(range(nodes), 2))}
    rows = []
    for word in itertools.product(range(nodes), repeat=nodes - 2):
        row, left = [0] * len(place), set(range(nodes))
        for first, node in enumerate(word):
            leaf = min(left.difference(word[first:]))
            row[place[min(leaf, node), max(leaf, node)]] = 1
            left.remove(leaf)
        a, b = sorted(left)
        row[place[a, b]] = 1
        rows.append(row)
    return torch.tensor(rows)


def matrix(edges: Tensor) -> Tensor:
    """(…, E) as symmetric matrices (…, n, n) with zeros on the diagonal, of the same dtype."""
    count = edges.shape[-1]
    nodes = round((1 + (1 + 8 * count) ** 0.5) / 2)
    i, j = pairs(nodes).to(edges.device)
    square = edges.new_zeros(*edges.shape[:-1], nodes, nodes)
    square[..., i, j] = square[..., j, i] = edges
    return square


def distances(edges: Tensor) -> Tensor:
    """Steps from node to node, (B, n, n) of floats; ∞ where there is no way. `edges`: (B, E)."""
    near = matrix(edges.float())
    nodes = near.shape[-1]
    found = torch.where(near > 0, 1.0, torch.inf)
    found.diagonal(dim1=1, dim2=2).zero_()
    for k in range(nodes):  # ways that pass through the first k nodes (Floyd and Warshall)
        found = torch.minimum(found, found[:, :, k, None] + found[:, None, k, :])
    return found


def is_tree(edges: Tensor) -> Tensor:
    """Which graphs (B, E) are trees, (B,) bool: all nodes hang together by n − 1 edges."""
    far = distances(edges)
    return (edges.sum(1) == far.shape[-1] - 1) & far.isfinite().flatten(1).all(1)


def shape_of(edges: Tensor) -> Tensor:
    """A number (B,) that trees of at most 6 nodes share if and only if they differ by names alone.

    It is Wiener's index, the sum of all distances of two nodes: of six nodes 35 for a path, 25 for
    a star, and another number for each of the four shapes between; −1 for what is no tree.
    """
    sums = distances(edges).sum((1, 2)) / 2
    return torch.where(is_tree(edges), sums, -1.0).long()


def relabelled(edges: Tensor, order: Tensor) -> Tensor:
    """The graphs (B, E, …) with node order[i] in the place of node i: the same but for names."""
    nodes = len(order)
    place = matrix(torch.arange(edges.shape[1]))
    i, j = pairs(nodes)
    return edges[:, place[order[i], order[j]]]
