"""BFN and ExactBFN as their users meet them: shapes, generators, modes, errors."""

import math

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
from bfn_core.beliefs import CategoricalParameters
from bfn_core.distributions import Gaussian
from bfn_core.model import stratified
from bfn_core.networks.mlp import MLP
from bfn_core.networks.siren import Siren
from tests.oracles import generator

SHAPE = (2, 3)


def make(kind: str, dropout: float = 0.0) -> tuple[BFN, torch.Tensor]:
    torch.manual_seed(0)
    g = generator(1)
    if kind == "continuous":
        flow = ContinuousFlow(0.1)
        return BFN(flow, MLP(6, SHAPE, hidden=16, dropout=dropout)), torch.rand(5, *SHAPE) * 2 - 1
    if kind == "discretised":
        flow = DiscretisedFlow(8, 0.1)
        x = flow.quantise(torch.rand(5, *SHAPE, generator=g) * 2 - 1)
        return BFN(flow, MLP(6, (*SHAPE, 2), hidden=16, dropout=dropout)), x
    flow = DiscreteFlow(4, 2.0)
    x = torch.randint(4, (5, *SHAPE), generator=g)
    return BFN(flow, MLP(24, (*SHAPE, 4), hidden=16, dropout=dropout)), x


KINDS = ["continuous", "discretised", "discrete"]


@pytest.mark.parametrize("kind", KINDS)
def test_losses_have_one_finite_value_per_example_and_gradients(kind):
    bfn, x = make(kind)
    for loss in (bfn.loss(x), bfn.loss_n(x, 5), bfn.loss_n(x, 1, 1), bfn.reconstruction_loss(x)):
        assert loss.shape == (5,)
        assert torch.isfinite(loss).all()
        bfn.zero_grad()
        loss.mean().backward()
        gradients = [p.grad for p in bfn.parameters()]
        assert all(g is not None and torch.isfinite(g).all() for g in gradients)
    assert bfn.loss(x, torch.linspace(0, 1, 5)).shape == (5,)
    assert bfn.loss(x, 0.5).shape == (5,)


@pytest.mark.parametrize("kind", KINDS)
def test_equal_generators_give_equal_results(kind):
    bfn, x = make(kind)
    calls = [
        lambda g: bfn.loss(x, generator=g),
        lambda g: bfn.loss_n(x, 5, generator=g),
        lambda g: bfn.reconstruction_loss(x, generator=g),
        lambda g: bfn.sample((5, *SHAPE), 4, generator=g),
        lambda g: bfn.flow.network_input(bfn.flow.sample_flow(x, 0.5, generator=g)),
        lambda g: bfn.flow.sender(x, 0.5).sample(generator=g),
    ]
    for call in calls:
        torch.testing.assert_close(call(generator(3)), call(generator(3)), rtol=0, atol=0)
        assert not torch.equal(call(generator(3)), call(generator(4)))


@pytest.mark.parametrize("kind", KINDS)
def test_samples_are_data_of_the_flow(kind):
    bfn, _ = make(kind)
    for final in ("sample", "mode"):
        x = bfn.sample((7, *SHAPE), 3, final=final, generator=generator(0))
        assert x.shape == (7, *SHAPE)
        bfn.flow.check(x)
        if kind == "discretised":
            torch.testing.assert_close(bfn.flow.quantise(x), x)
    with pytest.raises(ValueError, match="final"):
        bfn.sample((1, *SHAPE), 3, final="best")


@pytest.mark.parametrize("kind", KINDS)
def test_sampling_is_in_eval_mode_and_gives_back_the_mode(kind):
    bfn, _ = make(kind, dropout=0.9)
    bfn.train()
    bfn.network.head.eval()
    before = [m.training for m in bfn.modules()]
    first = bfn.sample((4, *SHAPE), 2, generator=generator(0))
    second = bfn.sample((4, *SHAPE), 2, generator=generator(0))
    torch.testing.assert_close(first, second)  # dropout would draw from the global generator
    assert [m.training for m in bfn.modules()] == before


def test_sampling_steps_tell_the_story_that_sample_ends():
    bfn, _ = make("discrete")
    steps = list(bfn.sampling_steps((4, *SHAPE), 5, generator=generator(0)))
    assert [step.i for step in steps] == list(range(6))
    assert steps[0].t == 0
    assert steps[-1].t == 1
    torch.testing.assert_close(steps[0].theta.probs, torch.full((4, *SHAPE, 4), 0.25))
    total = bfn.flow.beta(1.0)
    assert sum(bfn.flow.alpha(i, 5) for i in range(1, 6)) == pytest.approx(total)


@pytest.mark.parametrize("n", [1, 4])
def test_the_sampler_receives_every_message(n):
    """The belief after i messages holds the accuracy β(i/n), the last one included."""
    gaussian = ExactBFN(ContinuousFlow(0.1), torch.zeros(1, 1))
    for step in gaussian.sampling_steps((2, 1), n, generator=generator(0)):
        expected = torch.full((2,), 1 + gaussian.flow.beta(step.i / n))
        torch.testing.assert_close(step.theta.precision, expected)
    certain = ExactBFN(DiscreteFlow(3, 2.0), torch.tensor([[1]]))
    for step in certain.sampling_steps((20_000, 1), n, generator=generator(1)):
        logits = step.theta.logits[:, 0]
        accuracy = 3 * certain.flow.beta(step.t)  # ln θ_1 − ln θ_0 ~ N(βK, 2βK)
        gap = logits[:, 1] - logits[:, 0]
        assert float(gap.mean()) == pytest.approx(accuracy, abs=0.1)
        assert float(gap.var()) == pytest.approx(2 * accuracy, rel=0.05)


class Recorder(nn.Module):
    """Remembers the times at which it was called."""

    def __init__(self):
        super().__init__()
        self.times = []

    def forward(self, inputs, t):
        self.times.append(t.clone())
        return torch.zeros_like(inputs)


def test_the_network_sees_the_times_before_each_message():
    bfn = BFN(ContinuousFlow(0.1), Recorder())
    bfn.sample((2, 1), 4)
    assert [float(t[0]) for t in bfn.network.times] == [0, 0.25, 0.5, 0.75, 1]
    bfn.network.times.clear()
    x = torch.zeros(3, 1)
    bfn.loss_n(x, 4, 1)
    bfn.loss_n(x, 4, torch.tensor([4, 3, 2]))
    bfn.reconstruction_loss(x)
    assert [t.tolist() for t in bfn.network.times] == [[0, 0, 0], [0.75, 0.5, 0.25], [1, 1, 1]]


def test_stratified_times_are_uniform_and_even():
    draws = torch.stack(
        [stratified(8, like=torch.empty(0), generator=generator(s)) for s in range(500)]
    )
    assert ((draws >= 0) & (draws < 1)).all()
    for position in range(8):  # each one alone is uniform
        assert float(draws[:, position].mean()) == pytest.approx(0.5, abs=0.06)
    gaps = draws.sort(1).values.diff(dim=1)
    torch.testing.assert_close(gaps, torch.full_like(gaps, 1 / 8))


def test_the_squared_error_is_summed_not_averaged():
    bfn = BFN(ContinuousFlow(0.1), Recorder())
    small, large = torch.zeros(1, 4, 4), torch.zeros(1, 8, 8)
    for x in (small, large):
        x += 0.5
    at_prior = [float(bfn.loss(x, 0.0)) for x in (small, large)]  # x̂ = 0 at t = 0
    assert at_prior[0] == pytest.approx(-math.log(0.1) * 0.25 * 16, rel=1e-5)
    assert at_prior[1] == pytest.approx(4 * at_prior[0], rel=1e-5)


def test_discrete_loss_at_the_prior_in_numbers():
    """K β(1) t ‖e_x − ê‖² with ê uniform: 1 − 1/K for every variable."""

    class Uniform(nn.Module):
        def forward(self, inputs, t):
            return torch.zeros_like(inputs)

    bfn = BFN(DiscreteFlow(5, 2.0), Uniform())
    x = torch.randint(5, (3, 7))
    torch.testing.assert_close(bfn.loss(x, 0.5), torch.full((3,), 5 * 2 * 0.5 * 0.8 * 7))


@pytest.mark.parametrize("kind", ["discretised", "discrete"])
@pytest.mark.parametrize("alpha", [0.01, 1.0, 25.0])
def test_step_cost_is_the_kl_by_brute_force(kind, alpha):
    """The mean of step_cost against ln p_S − ln p_R averaged over many plain draws."""
    bfn, x = make(kind)
    x = x[:1].expand(20_000, *SHAPE)
    theta = bfn.flow.sample_flow(x[:1], 0.4, generator=generator(0))
    with torch.no_grad():
        output = bfn.output(theta, 0.4)
    sender, receiver = bfn.flow.sender(x, alpha), bfn.flow.receiver(output, alpha)
    y = sender.sample(generator=generator(1))
    plain = (sender.log_prob(y) - receiver.log_prob(y)).flatten(1).sum(1)
    mine = bfn.flow.step_cost(x, output, alpha, generator(2)).flatten(1).sum(1)
    a, b = Estimate.of(plain), Estimate.of(mine)
    assert abs(a.mean - b.mean) < 4 * math.hypot(a.standard_error, b.standard_error)
    # Of a faint message nearly all the variance is the slope in its noise, which is left out.
    assert b.standard_error <= (0.2 if alpha == 0.01 else 1.05) * a.standard_error


def test_exact_posterior_by_hand():
    flow = ContinuousFlow(0.2)
    data = torch.tensor([[-0.5], [0.25], [0.5]])
    weights = torch.tensor([1.0, 2.0, 1.0])
    bfn = ExactBFN(flow, data, weights)
    t, x = 0.4, torch.tensor([[0.25]])
    theta = flow.sample_flow(x, t, generator=generator(0))
    gamma = flow.gamma(t)
    likelihood = Gaussian(gamma * data, torch.tensor(1 / (gamma * (1 - gamma))))
    posterior = likelihood.log_prob(theta.mean).exp() * weights.unsqueeze(1)
    posterior = (posterior / posterior.sum()).T.double()
    torch.testing.assert_close(bfn.posterior(theta), posterior, rtol=1e-4, atol=1e-6)
    mean = (posterior @ data.double()).float()
    torch.testing.assert_close(bfn.output(theta, t).mean, mean, rtol=1e-4, atol=1e-6)


def test_a_belief_that_rules_classes_out_leaves_the_points_that_agree():
    """ln 0 is −∞, which times 0, for a point of another class, would be NaN."""
    bfn = ExactBFN(DiscreteFlow(3, 1.0), torch.tensor([[0, 0], [0, 1], [2, 2]]))
    theta = CategoricalParameters(torch.tensor([[[1.0, 0.0, 0.0], [0.25, 0.75, 0.0]]]).log())
    torch.testing.assert_close(
        bfn.output(theta, 1.0).probs, torch.tensor([[[1.0, 0.0, 0.0], [0.25, 0.75, 0.0]]]))


def test_equal_points_count_once_and_weights_may_have_any_sum():
    data = torch.tensor([[0, 1], [2, 1], [0, 1]])
    bfn = ExactBFN(DiscreteFlow(3, 1.0), data, torch.tensor([1.0, 2.0, 1.0]))
    assert bfn.entropy() == pytest.approx(math.log(2))


class Lopsided(nn.Module):
    """Always three to two for the first of two classes."""

    def forward(self, inputs, t):
        return torch.tensor([0.6, 0.4]).log().expand_as(inputs)


def test_a_sample_is_drawn_and_a_mode_is_not():
    bfn = BFN(DiscreteFlow(2, 1.0), Lopsided())
    drawn, mode = (
        bfn.sample((4000, 1), 2, final=f, generator=generator(0)) for f in ("sample", "mode")
    )
    assert float(drawn.double().mean()) == pytest.approx(0.4, abs=0.04)
    assert not mode.any()


def test_repeats_of_an_example_are_evenly_spread_over_time():
    bfn = BFN(ContinuousFlow(0.1), Recorder())
    elbo(bfn, torch.zeros(3, 1), repeats=4, generator=generator(0))
    times = torch.stack(bfn.network.times[:4]).sort(0).values  # (4, 3), then those at t = 1
    torch.testing.assert_close(times.diff(dim=0), torch.full((3, 3), 0.25))


def test_exact_output_at_the_prior_is_the_data():
    data = torch.tensor([[0, 1], [2, 1], [2, 2]])
    bfn = ExactBFN(DiscreteFlow(3, 1.0), data, torch.tensor([1.0, 1.0, 2.0]))
    probs = bfn.output(bfn.flow.prior((1, 2)), 0.0).probs
    expected = torch.tensor([[[0.25, 0, 0.75], [0, 0.5, 0.5]]])
    torch.testing.assert_close(probs, expected)


@pytest.mark.parametrize("network", [Siren, MLP])
def test_small_networks_learn_what_the_perfect_one_knows(network):
    """After some hundred steps the code length is within 15 % of the optimum; before, twice it."""
    torch.manual_seed(0)
    flow = DiscreteFlow(2, 4.0)
    x = torch.tensor([[0, 1, 0, 1], [1, 1, 0, 0]]).repeat(64, 1)
    bfn = BFN(flow, network(8, (4, 2), hidden=32))

    def nats(model):
        return elbo(model, x, repeats=40, generator=generator(0)).total.mean

    first, best = nats(bfn), nats(ExactBFN(flow, x[:2]))
    assert best == pytest.approx(math.log(2), abs=0.1)
    optimiser = torch.optim.Adam(bfn.parameters(), 5e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=400)
    for _ in range(400):
        optimiser.zero_grad()
        bfn.loss(x).mean().backward()
        optimiser.step()
        schedule.step()
    last = nats(bfn)
    assert best - 0.05 < last < 1.15 * best
    assert first > 2 * best


def test_estimates():
    e = Estimate.of(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert e.mean == 2.5
    assert e.standard_error == pytest.approx(1.2909944 / 2)
    assert e.bits(5).mean == pytest.approx(2.5 / 5 / math.log(2))
    assert math.isnan(Estimate.of(torch.tensor([1.0])).standard_error)


NAN = float("nan")
BAD_INPUT = [
    ("sigma_1", lambda: ContinuousFlow(0.0)),
    ("sigma_1", lambda: ContinuousFlow(1.0)),
    ("sigma_1", lambda: DiscretisedFlow(16, NAN)),
    ("bins", lambda: DiscretisedFlow(1, 0.1)),
    ("classes", lambda: DiscreteFlow(1, 1.0)),
    ("beta_1", lambda: DiscreteFlow(3, 0.0)),
    ("beta_1", lambda: DiscreteFlow(3, -1.0)),
    ("t must", lambda: ContinuousFlow(0.1).beta(1.5)),
    ("t must", lambda: DiscreteFlow(3, 1.0).beta(torch.tensor([0.5, -0.1]))),
    *(("t must", lambda flow=flow, raw=raw: flow.output(raw, flow.prior((2, 3)), 1.5))
      for flow, raw in ((ContinuousFlow(0.1), torch.zeros(2, 3)),
                        (DiscretisedFlow(4, 0.1), torch.zeros(2, 3, 2)),
                        (DiscreteFlow(4, 1.0), torch.zeros(2, 3, 4)))),
    ("t must", lambda: ContinuousFlow(0.1).output(
        torch.zeros(2, 3), ContinuousFlow(0.1).prior((2, 3)), torch.tensor([0.5, NAN]))),
    ("t must", lambda: make("continuous")[0].loss(torch.zeros(2, *SHAPE), torch.tensor([0, NAN]))),
    ("t must", lambda: make("discrete")[0].output(DiscreteFlow(4, 2.0).prior((1, *SHAPE)), 2.0)),
    ("x must", lambda: make("continuous")[0].loss(torch.full((2, *SHAPE), NAN))),
    ("x must", lambda: make("continuous")[0].loss(torch.full((2, *SHAPE), 1.5))),
    ("x must", lambda: make("continuous")[0].loss(torch.zeros(2, *SHAPE, dtype=torch.int64))),
    ("x must", lambda: make("discrete")[0].loss(torch.zeros(2, *SHAPE))),
    ("x must", lambda: make("discrete")[0].loss(torch.full((2, *SHAPE), 4))),
    ("x must", lambda: make("discrete")[0].loss(torch.full((2, *SHAPE), -1))),
    ("x must", lambda: DiscreteFlow(3, 1.0).sender(torch.zeros(2), 1.0)),
    ("shape", lambda: make("discretised")[0].loss(torch.full((2, 6, 1), 0.125))),
    ("shape", lambda: make("continuous")[0].loss(torch.zeros(2, *SHAPE), torch.zeros(3))),
    (
        "shape",
        lambda: ContinuousFlow(0.1).update(
            ContinuousFlow(0.1).prior((2, 3)), torch.zeros(2, 4), 1.0
        ),
    ),
    ("alpha", lambda: ContinuousFlow(0.1).sender(torch.zeros(2, 3), -1.0)),
    ("alpha", lambda: list(ContinuousFlow(0.1).messages(torch.zeros(2, 3), [1.0, -1.0]))),
    ("alpha", lambda: list(DiscreteFlow(3, 1.0).messages(torch.zeros(2, 3).long(), [NAN]))),
    ("alpha", lambda: list(MixedFlow(a=DiscreteFlow(3, 1.0), b=ContinuousFlow(0.1)).messages(
        {"a": torch.zeros(2, 3).long(), "b": torch.zeros(2, 3)}, [{"a": 1.0, "b": -1.0}]))),
    ("n must", lambda: make("discrete")[0].loss_n(torch.zeros(2, *SHAPE, dtype=torch.int64), 0)),
    ("n_steps must", lambda: make("discrete")[0].sample((2, *SHAPE), 0)),
    ("i must", lambda: make("continuous")[0].loss_n(torch.zeros(2, *SHAPE), 5, 6)),
    ("i must", lambda: make("continuous")[0].loss_n(torch.zeros(2, *SHAPE), 5, 0)),
    ("i must", lambda: DiscreteFlow(3, 1.0).alpha(torch.tensor([1, 9]), 8)),
    ("data must", lambda: ExactBFN(ContinuousFlow(0.1), torch.zeros(0, 2))),
    ("x must", lambda: ExactBFN(DiscreteFlow(3, 1.0), torch.zeros(2, 2))),
    ("weights", lambda: ExactBFN(ContinuousFlow(0.1), torch.zeros(2, 2), torch.ones(3))),
    ("weights", lambda: ExactBFN(ContinuousFlow(0.1), torch.zeros(2, 2), -torch.ones(2))),
    ("weights", lambda: ExactBFN(ContinuousFlow(0.1), torch.zeros(2, 2), torch.zeros(2))),
    ("data must", lambda: elbo(make("continuous")[0], torch.zeros(0, *SHAPE))),
    ("repeats", lambda: elbo(make("continuous")[0], torch.zeros(1, *SHAPE), repeats=0)),
]


@pytest.mark.parametrize(("words", "call"), BAD_INPUT)
def test_bad_input_is_a_value_error_that_says_what_came(words, call):
    with pytest.raises(ValueError, match=words) as error:
        call()
    assert "got" in str(error.value) or "weights" in words


def test_a_network_of_the_wrong_output_shape_is_named():
    bfn = BFN(DiscretisedFlow(8, 0.1), MLP(6, SHAPE))
    with pytest.raises(ValueError, match=r"network's output.*\(2, 2, 3, 2\), got \(2, 2, 3\)"):
        bfn.loss(torch.full((2, *SHAPE), 0.125))


def test_double_precision_data_stays_double():
    bfn = ExactBFN(ContinuousFlow(0.1), torch.zeros(1, 1, dtype=torch.float64))
    assert bfn.loss(torch.zeros(3, 1, dtype=torch.float64)).dtype == torch.float64
    assert bfn.sample((3, 1), 2).dtype == torch.float64
