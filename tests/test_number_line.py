"""Samplers and schedules on the number line: closed forms, distances and curves without chance."""

import math

import pytest
import torch

from bfn_core import ContinuousFlow, ExactBFN, Solver
from bfn_core.data.toy import PerfectMixture, PerfectNormal
from bfn_core.mmse import ErrorCurve
from bfn_core.number_line import (
    BETA_1,
    SIGMA_1,
    TOY,
    ancestral_std,
    apart,
    bent,
    bumps_curve,
    chance,
    ends,
    error,
    even_noise,
    perfect,
    quantiles,
    schedules,
    walk,
)
from bfn_core.samplers import Ancestral
from bfn_core.schedules import GeometricSchedule
from tests.oracles import generator

PAPER = "geometric (paper)"


def test_the_normal_network_is_bayes_rule():
    bfn = PerfectNormal(0.2, 0.3, sigma_1=SIGMA_1)
    theta = bfn.flow.sample_flow(torch.full((5, 1), 0.1).double(), 0.4, generator(0))
    beta = bfn.flow.beta(0.4)
    s = (1 + beta) * theta.mean
    posterior = (0.2 / 0.3**2 + s) / (1 / 0.3**2 + beta)  # precision-weighted mean
    torch.testing.assert_close(bfn.output(theta, 0.4).mean, posterior)


def test_a_normals_closed_forms_are_what_samplers_do():
    bfn = PerfectNormal(0.2, 0.3, sigma_1=SIGMA_1)
    x = walk(bfn, Ancestral(), 10, None, count=100_000)[2]
    assert float(x.std()) == pytest.approx(ancestral_std(10), rel=0.01)
    x = walk(bfn, Solver("midpoint"), 40, even_noise(200))[2]
    torch.testing.assert_close(x, quantiles("normal", 200), rtol=0, atol=1e-4)
    # W₁ between two normals of one mean is the difference of their spreads times E|z|.
    wrong = abs(float(quantiles("normal", 4000).std()) - float(ancestral_std(10)))
    assert error("normal", Ancestral(), 10) == pytest.approx(
        wrong * math.sqrt(2 / math.pi), rel=0.01)


def test_the_mixtures_network_guesses_as_the_one_of_its_grid():
    bfn = PerfectMixture(TOY, sigma_1=SIGMA_1)
    x = torch.tensor([[-0.8], [-0.3], [0.2], [0.7]]).double()
    for t in (0.0, 0.3, 0.8):
        theta = bfn.flow.sample_flow(x, t, generator(1))
        torch.testing.assert_close(
            bfn.output(theta, t).mean, perfect().output(theta, t).mean, atol=1e-5, rtol=0)


def test_random_samples_are_as_far_by_either_network():
    x = walk(perfect(), Ancestral(), 12, None)[2]
    assert error("bumps", Ancestral(), 12) == pytest.approx(apart(x, ends("bumps", 2000)), abs=1e-6)


def test_distances_between_samples():
    x = torch.tensor([0.3, -0.1, 0.2])
    assert apart(x, torch.tensor([0.0, 0.2, 0.3])) == pytest.approx(0.1 / 3)
    true = quantiles("bumps", 500)
    masses = [float((true < edge).double().mean()) for edge in (-0.5, 0.0, 0.5)]
    assert masses == pytest.approx([0.1, 0.3, 0.6], abs=0.01)  # the weights, added up
    assert 0.002 < chance(2000) < 0.03
    many, few = ends("bumps", 1000), ends("bumps", 200)
    assert apart(few, true[2::5].clone()[:100].repeat_interleave(2)) < 0.02
    assert abs(float(many.mean() - few.mean())) < 1e-3


def test_the_bumps_curve_is_what_their_perfect_network_has_left():
    points, weights_ = TOY.grid(401)
    bfn = ExactBFN(ContinuousFlow(0.02), points.double(), weights_)
    rows = torch.multinomial(weights_, 4000, True, generator=generator(0))
    beta = torch.tensor([0.0, 0.5, 5.0, 50.0, 2499.0], dtype=torch.float64)
    measured = ErrorCurve.of(bfn, points[rows].double(), beta)
    torch.testing.assert_close(measured.error, bumps_curve().at(beta), rtol=0.08, atol=0)


def test_the_table_of_schedules_has_the_figures_of_the_exact_network():
    """Measured beforehand by another program, with the exact network in float64."""
    curve = bumps_curve()
    assert curve.least == pytest.approx(2.271, abs=0.002)
    known = {PAPER: (2.61, 0.990, 0.435, 0.161, 0.61), "equal bits": (2.58, 1.001, 0.432, 0.158, 0),
             "finest": (2.46, 0.910, 0.402, 0.150, None),
             "quadratic": (11.8, 3.11, 1.08, 0.372, 2.67),
             "linear β": (61.5, 30.1, 14.5, 5.34, 11.3),
             "log-SNR": (5.39, 1.72, 0.695, 0.247, 1.72)}
    for name, (*values, scatter) in known.items():
        schedule = schedules()[name]
        assert [curve.excess(schedule, n) for n in (5, 10, 20, 50)] == pytest.approx(
            values, rel=0.01, abs=0.002), name
        assert scatter is None or curve.spread(schedule) == pytest.approx(scatter, abs=0.02)
    best = [curve.bill(curve.best(n)) - curve.least for n in (5, 10, 20)]
    assert best == pytest.approx([2.35, 0.903, 0.402], abs=0.006)


def test_bending_nothing_is_the_papers_schedule():
    t = torch.linspace(0, 1, 33, dtype=torch.float64)
    torch.testing.assert_close(bent([1.0] * 5).beta(t), GeometricSchedule(0.02).beta(t))
    late = bent([2.0, 1.0, 1.0])  # half of the time on the first third
    assert late.beta(0.5) == pytest.approx((1 + BETA_1) ** (1 / 3) - 1)
