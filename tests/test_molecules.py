"""Molecules: two kinds of data, two clocks, and networks that turn as molecules turn."""

import math
import sys

import pytest
import torch
from torch import nn

from bfn_core import (
    BFN,
    ContinuousFlow,
    DiscreteFlow,
    DiscretisedFlow,
    Estimate,
    ExactBFN,
    MixedFlow,
    elbo,
)
from bfn_core.clocks import ONE_FIRST, TOGETHER, Retimed, paths
from bfn_core.data.molecules import (
    BENT_PATHS,
    SCALE,
    Bent,
    PerfectBent,
    centring,
    g2,
    measured,
    off_the_law,
)
from bfn_core.exact import told_so_far
from bfn_core.networks.points import PointNetwork
from bfn_core.networks.scaled import KINDS, Scaled, Velocity
from bfn_core.schedules import GeometricSchedule, LinearSchedule, QuadraticSchedule
from bfn_core.training.brief import fit
from tests.oracles import agree, generator

FLOW = BENT_PATHS["together"]
FAMILY = Bent()


def turned(x, order, turn):
    """Atoms renamed, and turned around their mean."""
    back = centring(len(order))
    return {"kinds": x["kinds"][:, order],
            "places": back @ (back.T @ x["places"])[:, order] @ turn}


def rotation(seed):
    return torch.linalg.qr(torch.randn(3, 3, generator=generator(seed)))[0]


# Clocks.


CLOCKED = [Retimed(QuadraticSchedule(2.0), 3.0), Retimed(GeometricSchedule(0.05), 1 / 3),
           Retimed(LinearSchedule(9.0), 2.0, 0.25, 0.75)]


@pytest.mark.parametrize("schedule", CLOCKED, ids=repr)
def test_a_clock_changes_when_and_not_what(schedule):
    t = torch.linspace(0, 1, 201, dtype=torch.float64)
    beta = schedule.beta(t)
    assert float(beta[0]) == 0 and bool((beta.diff() >= 0).all())
    assert float(beta[-1]) == pytest.approx(float(schedule.schedule.beta(torch.ones(1))))
    inside = t[(t > schedule.start) & (t < schedule.end)].clone().requires_grad_()
    (slope,) = torch.autograd.grad(schedule.beta(inside).sum(), inside)
    torch.testing.assert_close(schedule.rate(inside), slope, rtol=1e-9, atol=1e-12)
    outside = torch.tensor([schedule.start - 0.1, schedule.end + 0.1], dtype=torch.float64)
    assert schedule.rate(outside).tolist() == [0.0, 0.0]
    for now in (0.1, 0.5, 0.9):  # as numbers too
        as_tensor = torch.tensor(now, dtype=torch.float64)
        assert schedule.beta(now) == pytest.approx(float(schedule.beta(as_tensor)), rel=1e-12)
        assert schedule.rate(now) == pytest.approx(float(schedule.rate(as_tensor)), rel=1e-12)


def test_a_clock_runs_to_its_end_in_single_precision():
    """Shares of the way are rounded, above 1 for every fifth start."""
    for percent in range(100):
        clock = Retimed(GeometricSchedule(0.1), start=percent / 100)
        wanted = clock.rate(torch.ones(1, dtype=torch.float64)).item()
        assert clock.rate(torch.ones(1)).item() == pytest.approx(wanted, rel=1e-5), percent
        clock = Retimed(GeometricSchedule(0.1), end=1 - percent / 100)
        assert clock.rate(torch.tensor([clock.end])).item() > 0


def test_a_clock_that_goes_backwards_is_refused():
    for options, said in (({"power": 0.0}, "power"), ({"start": 0.5, "end": 0.5}, "in this order"),
                          ({"end": 1.5}, "in this order")):
        with pytest.raises(ValueError, match=said):
            Retimed(QuadraticSchedule(1.0), **options)


class Linear(nn.Module):
    """Raw outputs that are 0 at first, with slopes that are not."""

    def __init__(self, outputs=()):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(outputs))

    def forward(self, inputs, t):
        if isinstance(inputs, dict):
            return {name: part * self.weight for name, part in inputs.items()}
        return (inputs.reshape(*inputs.shape, *[1] * self.weight.dim()) + 1.0) * self.weight


@pytest.mark.parametrize("power", [1.0, 20.0])  # 20: γ is too small to be divided by
@pytest.mark.parametrize("make", [ContinuousFlow, lambda **own: DiscretisedFlow(4, **own)],
                         ids=["continuous", "discretised"])
def test_before_its_start_a_clock_costs_nothing_and_teaches_nothing(make, power):
    flow = make(schedule=Retimed(GeometricSchedule(0.1), power, start=0.5))
    bfn = BFN(flow, Linear((2,) if isinstance(flow, DiscretisedFlow) else ()))
    x = torch.tensor([[0.25], [-0.75], [0.25], [0.75]])
    cost = bfn.loss(x, torch.tensor([0.0, 0.3, 0.501, 0.7]), generator=generator(0))
    assert cost[:2].tolist() == [0.0, 0.0] and bool((cost[2:] >= 0).all())
    assert cost[3].item() > 0
    cost.sum().backward()
    assert bool(bfn.network.weight.grad.isfinite().all())


@pytest.mark.parametrize("name", ONE_FIRST)
def test_a_network_learns_on_any_path(name):
    flow = paths(3, 6.0, 0.01, {name: ONE_FIRST[name]})[name]
    bfn, x = BFN(flow, Linear()), {"kinds": torch.zeros(50, 2).long(), "places": torch.rand(50, 2)}
    cost = bfn.loss(x, generator=generator(0)).mean()
    cost.backward()
    assert bool(cost.isfinite()) and bool(bfn.network.weight.grad.isfinite().all())


@pytest.mark.parametrize("kind", [*KINDS, "velocity"])
def test_a_scale_of_nothing_told_is_nothing(kind):
    flow = ContinuousFlow(schedule=Retimed(GeometricSchedule(0.1), start=0.5))
    reads = Velocity(Linear(), flow) if kind == "velocity" else Scaled(Linear(), flow, kind)
    assert reads(torch.zeros(2, 1), torch.tensor([0.0, 0.3])).tolist() == [[0.0], [0.0]]


# Mixed data with the perfect network.


def points(count=24):
    """Pairs of a symbol and a place, and places shared by two symbols: nothing is independent."""
    rng = generator(3)
    kinds = torch.randint(3, (count // 2, 2), generator=rng)
    kinds = torch.cat([kinds, (kinds + 1) % 3])  # so that the 24 differ
    places = 1.6 * torch.rand(count // 2, 2, generator=rng, dtype=torch.float64) - 0.8
    return {"kinds": kinds, "places": places.repeat(2, 1)}


def test_a_mixed_flow_of_one_part_is_that_part():
    kinds = points()["kinds"]
    alone = ExactBFN(DiscreteFlow(3, 4.0), kinds)
    packed = ExactBFN(MixedFlow(kinds=DiscreteFlow(3, 4.0)), {"kinds": kinds})
    x, t = kinds.repeat(50, 1), torch.rand(1200, generator=generator(0))
    one = alone.loss(x, t, generator=generator(1))
    assert torch.equal(one, packed.loss({"kinds": x}, t, generator=generator(1)))
    one = alone.sample((50, 2), 7, generator=generator(2))
    other = packed.sample({"kinds": (50, 2)}, 7, generator=generator(2))["kinds"]
    assert torch.equal(one, other)


@pytest.mark.parametrize("name", ONE_FIRST)
def test_a_perfect_bill_does_not_depend_on_the_path(name):
    x = points()
    flow = paths(3, 6.0, 0.01, {name: ONE_FIRST[name]})[name]
    bill = elbo(ExactBFN(flow, x), {part: v.repeat(100, 1) for part, v in x.items()}, repeats=40,
                generator=generator(0)).messages
    assert bill.standard_error < 0.03
    assert agree(bill, math.log(24))


def test_parts_that_are_independent_pay_apart():
    """The mixed bill is the sum of two bills, with less than all told, where no entropy says it."""
    kinds, places = torch.tensor([[0, 1], [1, 2], [2, 2]]), torch.tensor([[-0.6], [0.1], [0.4]])
    i, j = torch.cartesian_prod(torch.arange(3), torch.arange(3)).T
    flows = {"kinds": DiscreteFlow(3, 0.5), "places": ContinuousFlow(0.5)}
    together = ExactBFN(MixedFlow(**flows), {"kinds": kinds[i], "places": places[j]})
    many = {name: part.repeat(1000, 1) for name, part in together.data.items()}
    bill = elbo(together, many, repeats=4, generator=generator(0)).messages
    apart = [elbo(ExactBFN(flows[name], part), part.repeat(3000, 1), repeats=4,
                  generator=generator(1)).messages
             for name, part in (("kinds", kinds), ("places", places))]
    error = math.hypot(bill.standard_error, *(part.standard_error for part in apart))
    assert abs(bill.mean - sum(part.mean for part in apart)) < 4 * error
    assert bill.mean < 0.9 * 2 * math.log(3)  # a good part is still unknown


def test_what_was_told_is_a_landscape_with_the_bill_at_its_top():
    bfn = ExactBFN(paths(3, 6.0, 0.01, TOGETHER)["together"], points())
    surface = told_so_far(bfn, torch.linspace(0, 1, 6), draws=40)
    assert float(surface[0, 0]) == pytest.approx(0, abs=1e-6)
    assert float(surface[-1, -1]) == pytest.approx(math.log(24), abs=0.02)
    assert bool((surface.diff(dim=0) > -0.05).all() and (surface.diff(dim=1) > -0.05).all())
    half = elbo(ExactBFN(MixedFlow(kinds=DiscreteFlow(3, 6.0 * 0.4**2),
                                   places=ContinuousFlow(0.01**0.6)), bfn.data),
                {name: v.repeat(200, 1) for name, v in bfn.data.items()}, repeats=4,
                generator=generator(0)).messages
    assert float(surface[2, 3]) == pytest.approx(half.mean, abs=4 * half.standard_error + 0.08)


def test_what_was_told_is_weighed_as_the_points_are():
    data = {"kinds": torch.tensor([[0], [1], [2]]), "places": torch.tensor([[-0.5], [0.5], [0.0]])}
    bfn = ExactBFN(paths(3, 6.0, 0.01, TOGETHER)["together"], data, torch.tensor([0.9, 0.1, 0.0]))
    surface = told_so_far(bfn, torch.tensor([0.0, 1.0]))
    assert surface.flatten().tolist() == pytest.approx([0.0] + 3 * [bfn.entropy()], abs=1e-3)


# Real molecules.


def test_g2_holds_162_molecules():
    pytest.importorskip("ase")
    found = g2()
    assert len(found.names) == 162 == len(set(found.names))
    assert found.kinds.shape == (162, 14) and found.places.shape == (162, 14, 3)
    there = found.kinds > 0
    assert bool((found.places[~there] == 0).all())
    assert float(found.places.sum(1).abs().max()) < 1e-4  # around their means
    assert bool((there.sum(1) == there.long().cumsum(1).max(1).values).all())
    water = found.names.index("H2O")
    assert found.formula(water) == "H2O" and found.formula(found.names.index("C6H6")) == "C6H6"
    oxygen, *hydrogens = found.places[water, :3]
    for hydrogen in hydrogens:  # 0.97 Å in this set
        assert float((oxygen - hydrogen).norm()) == pytest.approx(0.97, abs=0.02)
    x = {"kinds": found.kinds, "places": found.places.double() / SCALE}
    flow = paths(15, 0.6, 0.01, TOGETHER)["together"]
    bill = elbo(ExactBFN(flow, x), x, repeats=200, generator=generator(0)).messages
    assert bill.standard_error < 0.06 and agree(bill, math.log(162))


def test_without_ase_a_sentence_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "ase.collections", None)
    with pytest.raises(ImportError, match='pip install "ase>=3.23,<4"'):
        g2()


# A family of known law.


def test_centring_leaves_the_mean_alone():
    for atoms in (2, 3, 7):
        rows = centring(atoms)
        torch.testing.assert_close(rows @ rows.T, torch.eye(atoms - 1))
        torch.testing.assert_close(rows @ torch.ones(atoms), torch.zeros(atoms - 1))
    places = torch.randn(5, 3, 3, generator=generator(0))
    back = centring(3).T @ (centring(3) @ places)
    torch.testing.assert_close(back, places - places.mean(1, keepdim=True))


def test_bent_molecules_are_measured_by_their_longest_side():
    x = FAMILY.draw(300, generator(0))
    found = measured(x)
    assert set(found["angle"].round().tolist()) == {100.0, 150.0}
    lengths = (20 * found["bonds"]).round().unique().div(20).tolist()
    assert lengths == pytest.approx([0.4, 0.55, 0.7])
    noisy = {**x, "places": x["places"] + 0.3}
    assert float(off_the_law(noisy, FAMILY)["bonds"].mean()) > 0.05


def test_bent_molecules_are_as_their_law_says():
    x = FAMILY.draw(6000, generator(0))
    off = off_the_law(x, FAMILY)
    assert float(off["bonds"].max()) < 1e-5 and float(off["angle"].max()) < 0.05
    kinds, middle, _ = FAMILY.forms
    assert len({(*row, m) for row, m in zip(kinds.tolist(), middle.tolist(), strict=True)}) == 24
    form = (x["kinds"] * torch.tensor([4, 2, 1])).sum(1) + 8 * measured(x)["middle"]
    counts = torch.bincount(form, minlength=24)
    assert float(((counts - 250.0) ** 2 / 250).sum()) < 49.7  # p = 0.001 at 23 degrees of freedom
    for one in range(24):  # no form leans to a side: 5 standard errors of 250 coordinates
        assert float(x["places"][form == one].mean(0).abs().max()) < 5 * 0.3 / 250**0.5
    # Turned evenly: each coordinate has the same second moment, and nothing leans.
    second = torch.einsum("nac,nad->cd", x["places"], x["places"]) / 6000
    torch.testing.assert_close(second, torch.eye(3) * second.trace() / 3, atol=0.012, rtol=0.0)


def test_the_evidence_is_the_mean_over_many_rotations():
    summed = 6 * torch.randn(3, 2, 3, generator=generator(0), dtype=torch.float64)
    beta = torch.tensor([4.0, 9.0, 30.0], dtype=torch.float64)
    frame, _ = torch.linalg.qr(torch.randn(200_000, 3, 2, generator=generator(1)))
    signs = 2.0 * torch.randint(2, (200_000, 1, 2), generator=generator(2)) - 1
    flat = FAMILY.forms[2][::5].double()
    places = torch.einsum("fab,rcb->frac", flat, (frame * signs).double())
    score = torch.einsum("nac,frac->nfr", summed, places)
    score = score.logsumexp(2) - math.log(200_000)
    score = score - beta[:, None] / 2 * flat.square().sum((1, 2))
    found = FAMILY.log_evidence(summed, beta)[:, ::5]
    torch.testing.assert_close(found, score, atol=0.02, rtol=0.0)


def test_the_familys_perfect_network_pays_what_messages_tell():
    """Its bill, from what it expects, is the information, from how likely the messages are."""
    x, bfn = FAMILY.draw(1500, generator(0)), PerfectBent(FLOW, FAMILY)
    bill = elbo(bfn, x, repeats=2, generator=generator(1)).messages
    theta = FLOW.sample_flow(x, 1.0, generator(2))
    precision = theta["places"].precision.double()
    summed = precision[:, None, None] * theta["places"].mean.double()
    logits = theta["kinds"].logits.double()
    own = (summed * x["places"]).sum((1, 2))
    own = own - (precision - 1) / 2 * x["places"].square().sum((1, 2))
    own = own + logits.gather(2, x["kinds"].unsqueeze(2)).sum((1, 2))
    forms = torch.nn.functional.one_hot(FAMILY.forms[0], 2).double()
    score = FAMILY.log_evidence(summed, precision - 1)
    score = score + torch.einsum("nak,fak->nf", logits, forms)
    told = Estimate.of(own - score.logsumexp(1) + math.log(24))
    assert abs(bill.mean - told.mean) < 4 * math.hypot(bill.standard_error, told.standard_error)
    assert told.mean > math.log(24) + 3  # the form, and how it is turned


# The network that turns.


@pytest.mark.parametrize("atoms", [3, 5])
def test_the_point_network_is_equivariant(atoms):
    torch.manual_seed(0)
    network = PointNetwork(atoms, 4, FLOW.flows["places"].gamma, width=32)
    x = {"kinds": torch.rand(30, atoms, 4, generator=generator(0)).softmax(-1),
         "places": torch.randn(30, atoms - 1, 3, generator=generator(1))}
    t = torch.linspace(0.05, 1, 30)
    with torch.no_grad():
        before = network(x, t)
        scale = {name: float(part.abs().max()) for name, part in before.items()}
        for seed in range(4):
            turn = rotation(seed) * (-1) ** seed  # mirrored as well
            order = torch.randperm(atoms, generator=generator(seed))
            one, other = turned(before, order, turn), network(turned(x, order, turn), t)
            for name, part in one.items():
                assert float((part - other[name]).abs().max()) < 1e-5 * max(1, scale[name]), name


def test_the_point_network_comes_near_to_the_best():
    torch.manual_seed(0)
    bfn = BFN(FLOW, PointNetwork(3, 2, FLOW.flows["places"].gamma, width=32, depth=2))
    x = FAMILY.draw(1000, generator(5))
    bills = [elbo(bfn, x, repeats=2, generator=generator(6)).messages]
    fit(bfn, lambda rng: FAMILY.draw(128, rng), 150, rate=5e-3)
    for network in (bfn, PerfectBent(FLOW, FAMILY)):
        bills.append(elbo(network, x, repeats=2, generator=generator(6)).messages)
    untrained, trained, best = bills
    # The same messages for all: the differences are better known than the bills.
    assert best.mean < trained.mean < best.mean + 0.45 * (untrained.mean - best.mean)
