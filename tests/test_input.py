"""What comes in another precision, as another kind of number or in another container.

Taken where it can mean one thing only, and refused by name where not; never wrong without a word.
"""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

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
from bfn_core.beliefs import over
from bfn_core.calibration import coverage, reliability
from bfn_core.compression.codec import named
from bfn_core.distributions import (
    Binned,
    Categorical,
    CategoricalMessage,
    DiscretisedNormal,
    Gaussian,
)
from bfn_core.infilling import fill, heaviest
from bfn_core.mmse import grid_bill
from bfn_core.model import stratified
from bfn_core.networks.mlp import MLP
from bfn_core.numerics import draw_index, draw_normal
from bfn_core.solvers import Solver
from tests.oracles import generator

SHAPE = (2, 3)
KINDS = ["continuous", "discretised", "discrete"]
FLOATS = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
HALVES = [torch.float16, torch.bfloat16]


def make(kind: str) -> tuple[BFN, torch.Tensor]:
    """8-bit bins and σ₁ = 0.001, which is what 16 bits break on."""
    torch.manual_seed(0)
    x = torch.rand(64, *SHAPE, generator=generator(1)) * 2 - 1
    if kind == "continuous":
        flow, outputs, inputs = ContinuousFlow(1e-3), SHAPE, 6
        x = x.bfloat16().float()  # numbers that 16 bits can hold
    elif kind == "discretised":
        flow, outputs, inputs = DiscretisedFlow(256, 1e-3), (*SHAPE, 2), 6
        x = flow.quantise(x)
    else:
        flow, outputs, inputs = DiscreteFlow(4, 2.0), (*SHAPE, 4), 24
        x = torch.randint(4, x.shape, generator=generator(1))
    return BFN(flow, MLP(inputs, outputs, hidden=16)), x


METHODS = {
    "loss": lambda bfn, x, g: bfn.loss(x, generator=g),
    "loss at t": lambda bfn, x, g: bfn.loss(x, 0.5, generator=g),
    "loss at times": lambda bfn, x, g: bfn.loss(x, torch.linspace(0, 1, len(x)), generator=g),
    "loss at times in float64": lambda bfn, x, g: bfn.loss(
        x, torch.linspace(0, 1, len(x), dtype=torch.float64), generator=g),
    "loss_n": lambda bfn, x, g: bfn.loss_n(x, 10, generator=g),
    "loss_n of message i": lambda bfn, x, g: bfn.loss_n(x, 10, 3, generator=g),
    "reconstruction_loss": lambda bfn, x, g: bfn.reconstruction_loss(x, generator=g),
    "elbo": lambda bfn, x, g: torch.tensor(elbo(bfn, x, generator=g).total.mean),
    "elbo of n": lambda bfn, x, g: torch.tensor(elbo(bfn, x, 10, generator=g).total.mean),
    "sample": lambda bfn, x, g: bfn.sample(x.shape, 3, generator=g),
    "fill": lambda bfn, x, g: fill(bfn, x[0], torch.ones(SHAPE) > 0, 3, 4, generator=g).weights,
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", ["continuous", "discretised"])
def test_data_of_any_precision_cost_the_same(kind, dtype, method):
    """The values are the same in every dtype, so the draws and the costs are, to the last bit."""
    bfn, x = make(kind)
    wanted = METHODS[method](bfn, x, generator(2))
    found = METHODS[method](bfn, x.to(dtype), generator(2))
    assert wanted.isfinite().all() and torch.equal(found, wanted)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", KINDS)
def test_times_of_any_precision_cost_the_same(kind, dtype):
    bfn, x = make(kind)
    t = torch.linspace(0, 1, 65)[:64]  # numbers that 16 bits can hold
    wanted, found = (bfn.loss(x, times, generator=generator(2)) for times in (t, t.to(dtype)))
    assert torch.equal(found, wanted)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", KINDS)
def test_networks_of_any_precision_are_called_in_their_own(kind, dtype, method):
    """Single-precision data or classes, as a loader gives them; half-precision networks too."""
    bfn, x = make(kind)
    found = METHODS[method](bfn.to(dtype), x, generator(2))
    assert found.isfinite().all()
    assert bfn._reference.dtype == torch.promote_types(dtype, torch.float32)
    if dtype != torch.float64 and "elbo" in method:
        single = float(METHODS[method](make(kind)[0], x, generator(2)))
        assert float(found) == pytest.approx(single, rel=0.05)


@pytest.mark.parametrize("dtype", HALVES)
def test_a_belief_in_16_bits_is_read_all_the_same(dtype):
    for kind in KINDS:
        bfn, x = make(kind)
        theta = bfn.flow.prior(x.shape, dtype=dtype)
        output = bfn.output(theta, 0.5)
        y = bfn.flow.sender(x, 0.5).sample(generator=generator(0))
        assert bfn.flow.network_input(bfn.flow.update(theta, y, 0.5)).isfinite().all()
        assert bfn.flow.receiver(output, 0.5).sample(generator=generator(0)).isfinite().all()


# Values that are no data ---------------------------------------------------------------------


BYTES = torch.arange(256)


@pytest.mark.parametrize("bins", [2, 3, 10, 16, 100, 255, 256, 1000])
def test_centres_are_taken_however_they_were_computed(bins):
    flow, k = DiscretisedFlow(bins, 0.01), torch.arange(bins)
    exact = (2 * k.double() + 1) / bins - 1
    for x in (flow.centres, exact, exact.float(), 2 * ((k + 0.5) / bins) - 1,
              -1 + (k + 0.5) * (2 / bins), ((k + 0.5) / bins - 0.5) / 0.5):
        flow.check(x)
        assert torch.equal(flow.index(x), k)


@pytest.mark.parametrize(
    ("x", "complaint"),
    [
        (BYTES / 127.5 - 1, "float32 with the value -1, 0.0039 from the nearest centre"),
        (BYTES / 255, "from the nearest centre.*flow.quantise.*data.quantise"),
        (BYTES / 128 - 1, "from the nearest centre"),
        (DiscretisedFlow(100, 0.1).centres.bfloat16(), "torch.bfloat16"),
        (torch.tensor([1.5]), r"x must lie in \[-1, 1\]"),
        (torch.tensor([math.nan]), "without NaN"),
    ],
)
def test_values_off_their_bins_are_refused(x, complaint):
    """x/127.5 − 1 would cost 11 bits per dimension instead of 4, without a word."""
    flow = DiscretisedFlow(256, 1e-3)
    bfn = BFN(flow, nn.Identity())
    for call in (flow.check, bfn.loss, lambda x: flow.sender(x, 1.0),
                 lambda x: flow.sample_flow(x, 0.5), lambda x: ExactBFN(flow, x)):
        with pytest.raises(ValueError, match=f"x must lie .*{complaint}|{complaint}"):
            call(x)
    flow.validate = False  # then values are not looked at
    flow.check(x)


@pytest.mark.parametrize("dtype", FLOATS)
def test_quantised_values_are_centres_in_single_precision(dtype):
    flow = DiscretisedFlow(100, 0.1)
    values = torch.linspace(-1, 1, 777).to(dtype)
    x = flow.quantise(values)
    flow.check(x)
    assert (x - values.double()).abs().max() < 0.01 + 1e-6
    assert x.dtype == torch.promote_types(dtype, torch.float32)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        (BYTES.to(torch.uint8), "values must be a floating-point tensor, got torch.uint8"),
        (BYTES.float(), r"values must lie in \[-1, 1\].*from 0 to 255"),
        (torch.tensor([math.nan]), "without NaN"),
        (np.zeros(3), "got <class 'numpy.ndarray'>"),
    ],
)
def test_quantising_what_is_no_value_is_refused(values, complaint):
    """Bytes would all be put into the last bin."""
    with pytest.raises(ValueError, match=complaint):
        DiscretisedFlow(256, 0.1).quantise(values)


def test_the_bin_of_a_byte_is_not_asked_for():
    with pytest.raises(ValueError, match="x must be a floating-point tensor, got torch.uint8"):
        DiscretisedFlow(256, 0.1).index(BYTES.to(torch.uint8))


# Draws in 16 bits ----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", HALVES)
def test_draws_of_many_classes_have_their_shares(dtype):
    """Sums of probabilities in bfloat16 never reach some of 256 classes."""
    count, k = 400_000, 256
    probs = torch.full((k,), 1 / k).to(dtype)
    log_probs = probs.float().log().to(dtype)
    share = probs.double() / probs.double().sum()
    drawn = [
        draw_index(probs, generator(0), (count,)),
        Categorical(log_probs).sample((count,), generator=generator(1)),
        DiscretisedFlow(k, 0.1).index(Binned(log_probs).sample((count,), generator=generator(2))),
    ]
    for index in drawn:
        counts = torch.bincount(index, minlength=k).double()
        chi = (counts - count * share).square().div(count * share).sum()
        assert float(chi) < k + 6 * math.sqrt(2 * k)


@pytest.mark.parametrize("dtype", HALVES)
def test_noise_and_times_have_more_than_256_values(dtype):
    like = torch.empty(20_000, dtype=dtype)
    times = torch.stack([stratified(7, like=like, generator=generator(s)) for s in range(3000)])
    normal = draw_normal(like, generator(0))
    assert len(normal.unique()) > 15_000 and len(times.unique()) > 15_000
    for draw in (
        Gaussian(like.zero_(), torch.ones(1, dtype=dtype)),
        CategoricalMessage(torch.zeros(20_000, 1, dtype=dtype), torch.ones(1, dtype=dtype)),
    ):
        assert len(draw.sample(generator=generator(1)).unique()) > 15_000
    normal = DiscretisedNormal(like.fill_(0.1), torch.full_like(like, 0.05), 2000)
    assert len(normal.sample(generator=generator(2)).unique()) > 250


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_accuracies_are_not_rounded_to_the_precision_of_data(dtype):
    sender = ContinuousFlow(1e-3).sender(torch.zeros(2, 3, dtype=dtype), 123_457.0)
    assert sender.precision.unique().tolist() == [123_457.0]


def test_draws_in_single_precision_are_what_they_were():
    """Recorded before 16 bits were seen to: committed figures depend on them."""
    probs = torch.tensor([0.2, 0.5, 0.3])
    assert draw_index(probs, generator(0), (12,)).tolist() == [1, 2, 0, 0, 1, 1, 1, 2, 1, 1, 1, 1]
    normal = draw_normal(torch.empty(3), generator(0))
    assert normal.tolist() == pytest.approx([1.54099607, -0.29342890, -2.17878938], rel=1e-6)
    times = stratified(3, like=torch.empty(0), generator=generator(0))
    assert times.tolist() == pytest.approx([0.49625659, 0.82958996, 0.16292334], rel=1e-6)


# Examples of one number, (B,), and none at all ---------------------------------------------------


POINTS = {
    "continuous": (ContinuousFlow(0.3), torch.tensor([0.5, -0.5, 0.1])),
    "discretised": (DiscretisedFlow(4, 0.3), torch.tensor([0.25, -0.75, 0.75])),
    "discrete": (DiscreteFlow(3, 1.0), torch.tensor([0, 2, 1])),
}
POINTS["mixed"] = (MixedFlow(**{kind: flow for kind, (flow, _) in POINTS.items()}),
                   {kind: x for kind, (_, x) in POINTS.items()})


def many(x, count):
    return over(lambda part: (count, *part.shape[1:]), x)


def gap(x):
    return over(lambda part: part[0], x), over(lambda part: torch.zeros_like(part[0]) > 0, x)


SHAPED = {  # each of a perfect network and the data that it knows
    "loss": lambda bfn, x, g: bfn.loss(x, generator=g),
    "loss_n": lambda bfn, x, g: bfn.loss_n(x, 3, generator=g),
    "reconstruction_loss": lambda bfn, x, g: bfn.reconstruction_loss(x, generator=g),
    "entropy": lambda bfn, x, g: bfn.entropy(),
    "sample": lambda bfn, x, g: bfn.sample(many(x, 5), 4, generator=g),
    "solver": lambda bfn, x, g: bfn.sample(many(x, 5), 4, sampler=Solver(), generator=g),
    "fill": lambda bfn, x, g: fill(bfn, *gap(x), 3, 4, generator=g).x,
    "fill what is known": lambda bfn, x, g: fill(
        bfn, gap(x)[0], over(lambda known: ~known, gap(x)[1]), 3, 4, generator=g).weights,
}
OF_BINS = {
    "coverage": lambda bfn, x, g: coverage(bfn, x, (0.5,), generator=g).ranks,
    "basis": lambda bfn, x, g: fill(
        bfn, x[0], torch.ones(1) > 0, 3, 4, basis=torch.eye(1), generator=g).weights,
    "grid_bill": lambda bfn, x, g: grid_bill(bfn, x, [0.0, 1.0, 9.0], generator=g),
}
OF_CLASSES = {
    "reliability": lambda bfn, x, g: reliability(bfn, x, (0.5,), generator=g).true,
    "heaviest": lambda bfn, x, g: heaviest(fill(bfn, *gap(x), 3, 4, generator=g), 2)[1],
}


@pytest.mark.parametrize(("kind", "method"), [
    *((kind, method) for kind in POINTS for method in SHAPED),
    *(("discretised", method) for method in OF_BINS),
    *(("discrete", method) for method in OF_CLASSES),
])
def test_examples_of_one_number_may_be_without_a_dimension_of_their_own(kind, method):
    act = (SHAPED | OF_BINS | OF_CLASSES)[method]
    flow, x = POINTS[kind]
    found, wanted = (act(ExactBFN(flow, data), data, generator(2))
                     for data in (x, over(lambda part: part.unsqueeze(1), x)))
    for one, other in zip(named(found).values(), named(wanted).values(), strict=True):
        one, other = torch.as_tensor(one).flatten(), torch.as_tensor(other).flatten()
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("kind", POINTS)
@pytest.mark.parametrize("tail", [(), (1,)])
def test_of_no_examples_there_are_no_costs(kind, tail):
    flow, x = POINTS[kind]
    points, none = (over(lambda part, n=n: part[:n].reshape(n, *tail), x) for n in (3, 0))
    bfn = ExactBFN(flow, points)
    for cost in (bfn.loss(none), bfn.loss_n(none, 3), bfn.reconstruction_loss(none)):
        assert cost.shape == (0,)


# What elbo is given --------------------------------------------------------------------------


def test_elbo_takes_batches_however_a_loader_holds_them():
    bfn, x = make("continuous")
    wanted = elbo(bfn, x, batch_size=16, generator=generator(0))
    for batches in (x.split(16), iter(x.split(16)), [[part] for part in x.split(16)],
                    ((part,) for part in x.split(16)), DataLoader(x, 16),
                    DataLoader(TensorDataset(x), 16)):
        assert elbo(bfn, batches, generator=generator(0)) == wanted


LABELS = torch.zeros(64, dtype=torch.int64)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (lambda x: x.numpy(), "got <class 'numpy.ndarray'>; torch.as_tensor makes one"),
        (lambda x: DataLoader(TensorDataset(x, LABELS), 16), "got <class 'list'> in it.*give x"),
        (lambda x: [(x, LABELS)], "got <class 'tuple'> in it"),
        (lambda x: [{"x": x}], "got <class 'dict'> in it"),
        (lambda x: (x, LABELS), r"examples of one shape, got \(2, 3\) and \(\)"),
        (lambda x: [x.numpy()], "got <class 'numpy.ndarray'> in it"),
        (lambda x: x.tolist(), "got <class 'list'> in it"),
        (lambda x: 3, "got <class 'int'>"),
        (lambda x: [], "at least one example, got none"),
        (lambda x: [x[:0]], "at least one example, got none"),
    ],
)
def test_elbo_names_what_it_cannot_take(data, complaint):
    bfn, x = make("continuous")
    with pytest.raises(ValueError, match=f"data must .*{complaint}"):
        elbo(bfn, data(x))


@pytest.mark.parametrize(
    "number", [{"n": 0}, {"n": 2.5}, {"n": True}, {"repeats": 0}, {"repeats": 1.5},
               {"batch_size": 0}, {"batch_size": -1}, {"batch_size": None}],
)
def test_elbo_names_numbers_that_are_none(number):
    bfn, x = make("continuous")
    (name,) = number
    with pytest.raises(ValueError, match=f"{name} must be a whole number of at least 1, got"):
        elbo(bfn, x, **number)


@pytest.mark.parametrize("kind", KINDS)
def test_elbo_reports_no_figure_that_is_not_a_number(kind):
    bfn, x = make(kind)
    nn.init.constant_(bfn.network.head[-1].weight, math.nan)
    with pytest.raises(ValueError, match="is not a number for 64 of 64 examples"):
        elbo(bfn, x)
    with pytest.raises(ValueError, match="at least one value, got none"):
        Estimate.of(torch.zeros(0))


def test_an_impossible_example_costs_infinitely_much_and_elbo_says_so():
    """Infinity is an answer, unlike NaN."""
    perfect = ExactBFN(DiscreteFlow(3, 400.0), torch.tensor([[0], [1]]))
    assert elbo(perfect, torch.tensor([[2], [2]])).total.mean == math.inf


# Numbers of NumPy ----------------------------------------------------------------------------


WHOLE = [np.int64, np.int32, np.uint8, torch.tensor]


@pytest.mark.parametrize("whole", WHOLE)
@pytest.mark.parametrize("kind", KINDS)
def test_whole_numbers_of_numpy_are_whole_numbers(kind, whole):
    bfn, x = make(kind)
    calls = [
        lambda n, i, g: bfn.loss_n(x, n, i, generator=g),
        lambda n, i, g: bfn.loss_n(x, n, generator=g),
        lambda n, i, g: bfn.sample(x.shape, n, generator=g),
        lambda n, i, g: torch.tensor(elbo(bfn, x, n, repeats=i, batch_size=n, generator=g)
                                     .total.mean),
        lambda n, i, g: torch.as_tensor(bfn.flow.alpha(i, n)),
        lambda n, i, g: fill(bfn, x[0], torch.ones(SHAPE) > 0, n, i, generator=g).x,
    ]
    for call in calls:
        wanted = call(20, 3, generator(0))
        found = call(whole(20), whole(3), generator(0))
        torch.testing.assert_close(found, wanted, check_dtype=False)
    assert bfn.flow.alpha(whole(200), whole(200)) == pytest.approx(bfn.flow.alpha(200, 200))


def test_flows_take_numbers_of_numpy_and_keep_pythons():
    flow = DiscretisedFlow(np.int64(16), np.float32(0.1))
    assert (type(flow.bins), type(flow.sigma_1)) == (int, float)
    assert repr(DiscreteFlow(np.uint8(200), np.float64(2.0))) == (
        "DiscreteFlow(classes=200, beta_1=2.0)"
    )
    assert ContinuousFlow(np.float64(0.1)).beta(np.float32(0.5)) == pytest.approx(9.0, rel=1e-6)
    x = flow.quantise(torch.rand(2, *SHAPE))
    assert BFN(flow, MLP(6, (*SHAPE, 2))).loss(x, np.float32(0.5)).isfinite().all()


@pytest.mark.parametrize(
    ("complaint", "call"),
    [
        ("classes must be a whole number", lambda: DiscreteFlow(True, 1.0)),
        ("classes must be a whole number", lambda: DiscreteFlow(np.bool_(True), 1.0)),
        ("classes must be a whole number", lambda: DiscreteFlow(np.float64(3.0), 1.0)),
        ("bins must be a whole number", lambda: DiscretisedFlow("16", 0.1)),
        ("beta_1 must be above 0", lambda: DiscreteFlow(3, "2")),
        ("beta_1 must be above 0", lambda: DiscreteFlow(3, True)),
        ("beta_1 must be above 0", lambda: DiscreteFlow(3, None)),
        ("sigma_1 must lie between 0 and 1", lambda: ContinuousFlow("0.1")),
        ("sigma_1 must lie between 0 and 1", lambda: ContinuousFlow(np.array([0.1]))),
        ("n must be", lambda: make("discrete")[0].loss_n(make("discrete")[1], np.float64(5))),
        ("i must be", lambda: make("discrete")[0].loss_n(make("discrete")[1], 5, 2.5)),
        ("i must be", lambda: make("discrete")[0].loss_n(make("discrete")[1], 5, True)),
        ("i must be", lambda: make("discrete")[0].loss_n(
            make("discrete")[1], 5, torch.full((64,), 2.5))),
        ("n_steps must be", lambda: make("discrete")[0].sample((2, *SHAPE), 2.5)),
        ("t must be a number", lambda: make("discrete")[0].loss(make("discrete")[1], [0.5] * 64)),
        ("t must be a number", lambda: ContinuousFlow(0.1).beta(np.array([0.5]))),
        ("data must be a tensor", lambda: ExactBFN(DiscreteFlow(3, 1.0), np.zeros((2, 2), int))),
        ("x must be", lambda: make("continuous")[0].loss(np.zeros((2, *SHAPE)))),
    ],
)
def test_what_is_no_such_number_is_named(complaint, call):
    with pytest.raises(ValueError, match=f"{complaint}.*, got") as caught:
        call()
    assert "\n" not in str(caught.value)
