"""The pictures of discretised data: their numbers are bfn_core's, and every control moves them."""

import math
import re

import pytest
import torch

from bfn_core import BFN, DiscretisedFlow
from bfn_core.data.digits import digits
from bfn_core.distributions import DiscretisedNormal
from bfn_core.grid import record
from bfn_core.one_message import comb_costs
from bfn_core.views import discretised_data as views
from bfn_core.views.kit import records, tiling


def numbers(caption):
    return [float(n) for n in re.findall(r"-?\d+\.\d+", re.sub("<[^>]*>", "", caption))]


def guess(mean, log_std, count):
    loc = torch.tensor([mean]).double()
    return DiscretisedNormal(loc, torch.full_like(loc, math.exp(log_std)), count)


def every_control_moves(explorer, **moves):
    assert set(moves) == set(explorer.controls) - {"noise"}
    for name, value in moves.items():
        before = explorer.png, explorer.controls[name].value
        explorer.set(**{name: value})
        assert explorer.error is None
        assert explorer.png != before[0], name
        explorer.set(**{name: before[1]})


def test_the_cut_normal_shows_the_library_s_numbers():
    explorer = views.bins_explorer(0.6, -0.7, 8)
    p = guess(0.6, -0.7, 8)
    outside, first, last, _, mean = numbers(explorer.caption)
    assert first == pytest.approx(100 * float(p.probs[0, 0]), abs=0.06)
    assert last == pytest.approx(100 * float(p.probs[0, -1]), abs=0.06)
    assert mean == pytest.approx(float(p.mean), abs=0.006)
    normal = torch.distributions.Normal(0.6, math.exp(-0.7))
    beyond = 1 - float(normal.cdf(torch.tensor(1.0)) - normal.cdf(torch.tensor(-1.0)))
    assert outside == pytest.approx(100 * beyond, abs=0.06)
    every_control_moves(explorer, mean=-1.6, log_std=1.5, bins=40)


@pytest.mark.parametrize("bar", [0, 1])
def test_bars_and_tails_have_the_area_of_their_probability(bar):
    (axes,) = views.bins_figure([(1.1, -0.5)], 6).axes
    bars, *piled = axes.patches
    # Heights are scaled to the panel; the normal's peak, 1/(σ√(2π)), says by how much.
    scale = max(axes.lines[0].get_ydata()) * math.sqrt(2 * math.pi) * math.exp(-0.5)
    inside = bars.get_data().values[0 if bar == 0 else -1] / 3 / scale
    tail = piled[bar].get_height() * piled[bar].get_width() / scale
    assert inside + tail == pytest.approx(float(guess(1.1, -0.5, 6).probs[0, -bar]), abs=1e-6)
    assert tail > 0


def test_the_comb_moves_with_every_control():
    explorer = views.comb_explorer()
    shown = numbers(explorer.caption)
    flow, output = DiscretisedFlow(8, 0.02), guess(0.0, -0.8, 8)
    comb, bell = comb_costs(flow, output, 5, 60.0)
    assert shown[0] == pytest.approx(comb, abs=0.006)
    assert shown[-1] == pytest.approx(bell, abs=0.006)
    every_control_moves(explorer, alpha=2000.0, level=0, mean=1.6, log_std=-4.0)


def test_the_grid_moves_with_every_control():
    explorer = views.grid_explorer()
    every_control_moves(explorer, t=1.0, sigma_1=0.02, point=5)
    before = explorer.png
    explorer.controls["noise"].click()
    assert explorer.png != before and explorer.error is None


class Same(torch.nn.Module):
    def forward(self, inputs, t):
        return torch.stack([0.2 * inputs, 0 * inputs], -1)


def test_steps_of_sampling_are_kept_and_shown():
    bfn = BFN(DiscretisedFlow(17, 0.05), Same())
    got = record(bfn, (4, 8, 8), 6, generator=torch.Generator().manual_seed(0))
    beliefs, guesses, spreads, samples = got
    assert beliefs.shape == guesses.shape == spreads.shape == (7, 4, 8, 8)
    steps = bfn.sampling_steps((4, 8, 8), 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(guesses, torch.stack([s.output.mean for s in steps]), atol=1e-5,
                               rtol=0)
    torch.testing.assert_close(bfn.flow.quantise(samples), samples)
    explorer = views.samples_explorer(beliefs, guesses, spreads, step=2)
    assert "2 of 6" in explorer.caption
    every_control_moves(explorer, step=6)


def test_digits_are_cut_in_the_order_of_the_file():
    from sklearn.datasets import load_digits

    data = digits()
    assert [len(part) for part in (data.train, data.validation, data.test)] == [1297, 140, 360]
    whole = torch.cat([data.fit, data.test])
    assert whole.dtype == torch.int64
    assert (int(whole.min()), int(whole.max())) == (0, 16)
    assert (whole.double().numpy() == load_digits().images).all()
    with pytest.raises(ValueError, match="validation and test"):
        digits(validation=900, test=900)
    with pytest.raises(ValueError, match="validation and test"):
        digits(test=0)


def test_figures_without_a_kernel():
    for figure in (
        views.bins_figure(),
        views.comb_figure(),
        views.grid_figure(),
        records.bits_figure({"a": (2.0, 0.1), "b": (1.0, 0.0)}, ours=("b",)),
        tiling.images_figure(torch.zeros(20, 8, 8)),
    ):
        assert figure.axes
