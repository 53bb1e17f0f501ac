"""Trees are those that Cayley counted, and the edge network cannot read names."""

import itertools
import math

import pytest
import torch
from safetensors.torch import load_file

from bfn_core import BFN, DiscreteFlow, Estimate, ExactBFN, data, elbo
from bfn_core.data.trees import (
    TREE_FLOW,
    distances,
    is_tree,
    matrix,
    pairs,
    relabelled,
    shape_of,
    trees,
)
from bfn_core.networks.edges import EdgeNetwork
from bfn_core.training.brief import fit
from tests.oracles import agree, generator
from tools.graphs import bills

SHAPES = {5: [5, 60, 60], 6: [6, 90, 120, 360, 360, 360]}  # labellings of each shape


@pytest.mark.parametrize("nodes", [3, 4, 5, 6])
def test_trees_are_as_many_as_cayley_says_and_all_different(nodes):
    x = trees(nodes)
    assert x.shape == (nodes ** (nodes - 2), nodes * (nodes - 1) // 2)
    assert x.dtype == torch.int64 and len(x.unique(dim=0)) == len(x)
    assert bool(is_tree(x).all())


def test_is_tree_is_no_more_and_no_less():
    """Of all 1,024 graphs on five nodes it takes those that are listed."""
    graphs = torch.tensor(list(itertools.product((0, 1), repeat=10)))
    found = graphs[is_tree(graphs)]
    assert {tuple(row) for row in found.tolist()} == {tuple(row) for row in trees(5).tolist()}


@pytest.mark.parametrize("nodes", SHAPES)
def test_shapes_come_as_often_as_is_known(nodes):
    _, counts = shape_of(trees(nodes)).unique(return_counts=True)
    assert sorted(counts.tolist()) == SHAPES[nodes]
    ring = torch.tensor([[1, 0, 1, 1, 0, 1]])  # four nodes in a ring
    assert shape_of(ring).tolist() == [-1] and not is_tree(ring)[0]


def test_distances_count_steps():
    path = torch.zeros(1, 6, dtype=torch.int64)
    for e, (i, j) in enumerate(pairs(4).T.tolist()):
        path[0, e] = int(j == i + 1)
    expected = (torch.arange(4)[:, None] - torch.arange(4)).abs().float()
    assert torch.equal(distances(path)[0], expected)
    assert distances(torch.zeros_like(path))[0, 0].tolist() == [0.0, *[math.inf] * 3]


def test_renaming_moves_rows_and_columns():
    x, order = trees(5)[[7, 77]], torch.tensor([2, 4, 0, 1, 3])
    assert torch.equal(matrix(relabelled(x, order)), matrix(x)[:, order][:, :, order])
    assert torch.equal(shape_of(relabelled(x, order)), shape_of(x))


def test_numbers_of_nodes_that_make_no_sense_are_refused():
    for nodes, said in ((2, "nodes must be"), (9, "at most 8, got 9")):
        with pytest.raises(ValueError, match=said):
            trees(nodes)


@pytest.mark.parametrize("nodes", [5, 6])
def test_the_perfect_network_pays_cayleys_bill(nodes):
    x = trees(nodes)
    bill = elbo(ExactBFN(DiscreteFlow(2, 9.0), x), x.repeat(1296 // len(x) * 4, 1), repeats=4,
                generator=generator(0))
    assert agree(bill.total, (nodes - 2) * math.log(nodes))
    assert bill.reconstruction.mean < 0.02


def test_the_perfect_network_draws_shapes_as_often_as_they_are():
    x = trees(6)
    drawn = ExactBFN(DiscreteFlow(2, 9.0), x).sample((4000, 15), 12, generator=generator(1))
    shapes, sizes = shape_of(x).unique(return_counts=True)
    counts = (shape_of(drawn)[:, None] == shapes).sum(0)
    assert counts.sum() > 0.98 * 4000
    expected = counts.sum() * sizes / sizes.sum()
    assert float(((counts - expected) ** 2 / expected).sum()) < 20.5  # p = 0.001 at 5 degrees


def test_the_edge_network_is_equivariant():
    torch.manual_seed(0)
    network = EdgeNetwork(6, 3)
    inputs, t = torch.rand(40, 15, 3).softmax(-1), torch.rand(40)
    for seed in range(5):
        order = torch.randperm(6, generator=generator(seed))
        one = relabelled(network(inputs, t), order)
        assert one.shape == inputs.shape
        assert float((one - network(relabelled(inputs, order), t)).detach().abs().max()) < 1e-5


def test_the_edge_network_reads_all_that_matters():
    """A far edge, the edge itself and the time change what it says of an edge."""
    torch.manual_seed(0)
    network = EdgeNetwork(5, 2, width=16)
    inputs, t = torch.full((1, 10, 2), 0.5), torch.tensor([0.5])
    before = network(inputs, t)[0, 0]
    for place in (0, 9):  # the pair (0, 1), and (3, 4), which shares no node with it
        other = inputs.clone()
        other[0, place] = torch.tensor([0.1, 0.9])
        assert float((network(other, t)[0, 0] - before).detach().abs().max()) > 1e-4
    assert float((network(inputs, t + 0.3)[0, 0] - before).detach().abs().max()) > 1e-4


def test_the_edge_network_sees_rings():
    """A ring of six and two rings of three: every node has two neighbours, and all sums agree."""
    torch.manual_seed(0)
    network, edges = EdgeNetwork(6, 2, width=16), pairs(6).T.tolist()
    rings = [{(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (0, 5)},
             {(0, 1), (1, 2), (0, 2), (3, 4), (4, 5), (3, 5)}]
    there = torch.tensor([[pair in ring for pair in map(tuple, edges)] for ring in rings]).float()
    one, other = network(torch.stack([1 - there, there], -1), torch.full((2,), 0.5))[:, 0]
    assert float((one - other).detach().abs().max()) > 1e-3


def test_a_short_training_comes_nearer_to_the_law():
    x, flow = trees(4), DiscreteFlow(2, 9.0)
    torch.manual_seed(0)
    bfn = BFN(flow, EdgeNetwork(4, 2, width=16, depth=2))
    many = x.repeat(20, 1)
    before = elbo(bfn, many, generator=generator(0)).total
    losses = fit(bfn, lambda rng: x[torch.randint(16, (64,), generator=rng)], 120, rate=1e-2)
    after = elbo(bfn, many, generator=generator(0)).total
    assert len(losses) == 120 and not bfn.training
    assert math.log(16) - 4 * after.standard_error < after.mean < before.mean - 0.4


def test_the_shipped_weights_are_those_of_their_record():
    row = next(row for row in data.record("graphs")["trees"]["rows"]
               if row["network"] == "edge network" and row["seed"] == 0)
    bfn = BFN(TREE_FLOW, EdgeNetwork(6, 2))
    bfn.network.load_state_dict(load_file(data.asset("trees.safetensors")))
    assert sum(p.numel() for p in bfn.parameters()) == row["parameters"]
    x = trees(6)
    above = Estimate.of(bills(bfn, x, repeats=4) - bills(ExactBFN(TREE_FLOW, x), x, repeats=4))
    written = row["above the perfect"]
    error = math.hypot(above.standard_error, written["standard error"])
    assert abs(above.mean - written["nats"]) < 4 * error < 0.1
