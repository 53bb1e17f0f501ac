"""With a time for each part and the perfect network, what is read off is Bayes' rule."""

import math

import pytest
import torch
from torch import nn

from bfn_core import ContinuousFlow, DiscreteFlow, ExactBFN, MixedFlow, elbo
from bfn_core.beliefs import CategoricalParameters, GaussianParameters
from bfn_core.data.iris_and_wine import LABEL, Scale, energy_distance, iris, spread_out, wine
from bfn_core.missing import MissingFlow
from bfn_core.networks.clocked import ClockedNetwork
from bfn_core.own_clocks import (
    PATHS,
    START,
    OwnClocks,
    complete,
    expect,
    knowing,
    row_belief,
    table_flow,
    table_model,
)
from bfn_core.training.brief import fit_apart
from tests.oracles import generator

FLOW = MixedFlow(a=DiscreteFlow(2, 8.0), b=DiscreteFlow(3, 8.0), c=ContinuousFlow(0.02))
ROWS = {"a": torch.tensor([[0], [0], [1], [1], [1]]), "b": torch.tensor([[0], [1], [1], [2], [2]]),
        "c": torch.tensor([[-0.8], [0.1], [0.1], [0.6], [-0.8]], dtype=torch.float64)}
WEIGHTS = torch.tensor([0.1, 0.3, 0.2, 0.25, 0.15], dtype=torch.float64)


class Perfect(nn.Module):
    """The exact posterior, from what a network reads: means, probabilities and each part's time."""

    def __init__(self):
        super().__init__()
        self.exact = ExactBFN(FLOW, ROWS, WEIGHTS)

    def forward(self, inputs, times):
        theta, raw = {}, {}
        for name, flow in FLOW.flows.items():
            if name == "c":
                theta[name] = GaussianParameters(inputs[name], 1 + flow.beta(times[name]))
            else:
                theta[name] = CategoricalParameters(inputs[name].clamp(min=1e-40).log())
        output = self.exact.output(theta, 0.5)
        for name in ("a", "b"):
            raw[name] = output[name].log_probs
        gamma = FLOW.flows["c"].gamma(times["c"]).unsqueeze(1)
        estimate = output["c"].mean
        raw["c"] = (inputs["c"] / gamma - estimate) * (gamma / (1 - gamma)).sqrt()
        return raw


BFN = OwnClocks(FLOW, Perfect())


def bayes(known, row):
    """p(row | what is known of it), by counting."""
    same = torch.ones(5, dtype=torch.bool)
    for name, k in known.items():
        if k:
            same &= (ROWS[name] == ROWS[name][row]).flatten()
    return WEIGHTS * same / (WEIGHTS * same).sum()


@pytest.mark.parametrize("known", [(a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)])
def test_one_call_is_bayes_rule(known):
    known = {name: bool(k) for name, k in zip("abc", known, strict=True)}
    output = expect(BFN, ROWS, known)
    for row in range(5):
        law = bayes(known, row)
        for name, classes in (("a", 2), ("b", 3)):
            right = torch.zeros(classes, dtype=torch.float64).index_add_(0, ROWS[name][:, 0], law)
            got = output[name].probs[row, 0].double()
            torch.testing.assert_close(got, right, atol=2e-3, rtol=0.0)
        mean = float(output["c"].mean[row, 0])
        assert mean == pytest.approx(float(law @ ROWS["c"][:, 0]), abs=2e-3)


def test_completed_rows_follow_the_conditional_law():
    known = {"a": True, "b": False, "c": False}
    x = {name: part[2:3].repeat(4000, 1) for name, part in ROWS.items()}
    drawn = complete(BFN, x, known, 40, generator=generator(0))
    assert bool((drawn["a"] == 1).all())
    values = torch.tensor([-0.8, 0.1, 0.6])
    near = values[(drawn["c"] - values).abs().argmin(1)]
    for row in (2, 3, 4):
        same = (drawn["b"] == ROWS["b"][row]).flatten()
        same &= (near - ROWS["c"][row]).abs() < 0.01
        right = float(bayes(known, row)[row])
        assert float(same.double().mean()) == pytest.approx(right, abs=0.03)


def test_what_is_known_is_not_worn_away_by_a_network_that_doubts_it():
    """An untrained network sees the same of a known column at every step."""
    learn = iris()
    torch.manual_seed(0)
    bfn, seen = table_model(learn, Scale.of(learn), hidden=8, depth=1), []
    bfn.network.register_forward_pre_hook(lambda _, args: seen.append(args[0]["petal width"]))
    x = Scale.of(learn).columns(learn.rows(torch.arange(0, 150, 30)))
    complete(bfn, x, {name: name == "petal width" for name in x}, 6, generator=generator(9))
    assert len(seen) == 7 and all(torch.equal(belief, seen[0]) for belief in seen)


def test_each_row_may_know_something_else():
    one = {"a": torch.tensor([True, False, True, False, True]), "b": False, "c": True}
    mixed = expect(BFN, ROWS, one)["b"].probs
    for a, rows in ((True, [0, 2, 4]), (False, [1, 3])):
        alone = expect(BFN, ROWS, {"a": a, "b": False, "c": True})["b"].probs
        torch.testing.assert_close(mixed[rows], alone[rows])


def test_the_loss_apart_of_the_perfect_network_is_least():
    rows = torch.multinomial(WEIGHTS, 20000, True, generator=generator(1))
    x = {name: part[rows] for name, part in ROWS.items()}

    class Off(Perfect):
        def forward(self, inputs, times):
            raw = super().forward(inputs, times)
            return {**raw, "b": 0.7 * raw["b"]}

    best, worse = (OwnClocks(FLOW, net).loss_apart(x, generator=generator(2)).mean()
                   for net in (Perfect(), Off()))
    assert 0 < float(best) < float(worse)


def test_what_is_known_costs_nothing_and_the_rest_costs_its_rate():
    flow = MixedFlow(a=FLOW.flows["a"], b=FLOW.flows["a"])

    class Even(nn.Module):
        def forward(self, inputs, times):
            return {name: 0 * part for name, part in inputs.items()}

    x = {name: torch.zeros(40000, 1, dtype=torch.int64) for name in "ab"}
    cost = OwnClocks(flow, Even()).loss_apart(x, generator=generator(3))
    # Half of the parts are unknown; each costs K β(1) t ‖e − ½‖² = 8 t, at uniform t: 4 on average.
    assert float(cost.mean()) == pytest.approx(4.0, abs=0.1)
    both_known = (cost == 0).double().mean()
    assert float(both_known) == pytest.approx(1 / 3, abs=0.02)  # the mean of p²


def test_what_is_absent_is_not_known():
    gaps = MixedFlow(**{name: MissingFlow(flow) for name, flow in FLOW.flows.items()})
    bfn = OwnClocks(gaps, Perfect())
    known = {"a": torch.tensor([True] * 4 + [False]), "b": False, "c": True}
    x = {**ROWS, "a": torch.tensor([[0], [0], [1], [1], [-1]]), "b": torch.full((5, 1), -1)}
    same = {**x, "a": x["a"].clamp(min=0), "b": ROWS["b"]}  # what is not known is not looked at
    for one, other in zip(knowing(gaps, x, known), knowing(FLOW, same, known), strict=True):
        assert one.keys() == other.keys()
        for name in one:
            torch.testing.assert_close(vars_of(one[name]), vars_of(other[name]), rtol=0.0, atol=0.0)
    drawn = complete(bfn, x, known, 3, generator=generator(0))
    assert all(bool((drawn[name] >= 0).all()) for name in "ab")
    with pytest.raises(ValueError, match="known must be False where x is absent"):
        knowing(gaps, x, {**known, "a": True})
    with pytest.raises(ValueError, match="known must be False where x is absent"):
        knowing(gaps, {**x, "c": torch.full((5, 1), math.nan)}, known)


def vars_of(value):
    """The tensors of a belief, or the one of a time."""
    return [value] if isinstance(value, torch.Tensor) else [*vars(value).values()]


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="known must have the names"):
        knowing(FLOW, ROWS, {"a": True})
    theta, times = knowing(FLOW, ROWS, {"a": True, "b": False, "c": False})
    with pytest.raises(ValueError, match="t must have the names"):
        BFN.output(theta, {"a": times["a"]})
    with pytest.raises(ValueError, match="condition must be None"):
        BFN.output(theta, times, condition=torch.zeros(5))
    with pytest.raises(ValueError, match="n_steps"):
        complete(BFN, ROWS, {"a": True, "b": False, "c": False}, 0)


def test_a_column_of_one_value_lies_in_the_middle_of_its_scale():
    table = iris().rows(torch.zeros(3, dtype=torch.long))
    scale = Scale.of(table)
    middle = torch.zeros_like(table.numbers)
    assert (scale.scaled(table.numbers) - middle).abs().max() < 1e-6
    assert (scale.measured(middle) - table.numbers).abs().max() < 1e-6


def test_the_perfect_bill_is_the_same_on_retimed_clocks():
    bills = []
    table = iris().rows(torch.arange(0, 150, 10))
    scale = Scale.of(table)
    x = scale.columns(table)
    for path in PATHS:
        bfn = ExactBFN(table_flow(table, path), x)
        bills.append(elbo(bfn, x, repeats=300, generator=generator(4)).messages)
    for other in bills[1:]:
        error = (bills[0].standard_error**2 + other.standard_error**2) ** 0.5
        assert abs(other.mean - bills[0].mean) < 4 * error + 0.05


def test_tables_are_as_scikit_learn_has_them():
    for table, rows, columns in ((iris(), 150, 4), (wine(), 178, 13)):
        assert len(table) == rows and len(table.names) == columns and len(table.classes) == 3
        learn, test = table.split(seed=3)
        assert len(learn) + len(test) == rows
        scale = Scale.of(learn)
        torch.testing.assert_close(scale.measured(scale.scaled(learn.numbers)), learn.numbers,
                                   rtol=1e-4, atol=1e-3)
        table_flow(table).check(scale.columns(test))
        both = torch.cat([learn.numbers, test.numbers])
        assert sorted(map(tuple, both.tolist())) == sorted(map(tuple, table.numbers.tolist()))


def test_energy_distance_knows_same_from_other():
    a, b = (torch.randn(800, 2, generator=generator(s)) for s in (0, 1))
    assert abs(energy_distance(a, b)) < 0.02 < energy_distance(a, b + 0.5)
    far, near = torch.tensor([[0.0], [0.0]]), torch.tensor([[3.0], [3.0]])
    assert energy_distance(far, near) == pytest.approx(6.0)


def test_a_table_network_learns_the_class():
    table = iris()
    learn, test = table.split()
    scale = Scale.of(learn)
    torch.manual_seed(0)
    bfn = table_model(learn, scale, hidden=48)
    assert isinstance(bfn.network, ClockedNetwork)
    losses = fit_apart(bfn, scale.columns(learn), 150)
    assert sum(losses[-20:]) < sum(losses[:20])
    held = scale.columns(test)
    assert spread_out(held, 3).shape == (45, 7)
    guess = expect(bfn, held, {name: name != LABEL for name in held})[LABEL].probs[:, 0].argmax(1)
    assert float((guess == test.label).float().mean()) > 0.85


def test_what_is_known_stands_at_one_and_the_rest_where_it_was_told():
    table = iris()
    scale = Scale.of(table)
    model, columns = table_model(table, scale, hidden=8), scale.columns(table)
    known = {name: name == "petal length" for name in columns}
    theta, times = row_belief(model, columns, known, 0.3)
    assert float(times["petal length"].min()) == 1 and float(times[LABEL].max()) < 0.31
    near = model.flow.flows["petal length"].gamma(1.0) * columns["petal length"]
    torch.testing.assert_close(theta["petal length"].mean, near)
    theta, times = row_belief(model, columns, known, 0.0)
    assert float(theta["sepal width"].mean.abs().max()) == 0
    assert float(times["sepal width"][0]) == pytest.approx(START)
