"""Pictures of coordinates and schedules, and the tools and records behind notebook 14."""

import math
import re

import pytest
import torch

from bfn_core import DiscreteFlow, ExactBFN, data
from bfn_core.mmse import grid
from bfn_core.number_line import bumps_curve, schedules
from bfn_core.views import diffusion_and_schedules as views
from tests.oracles import generator
from tools import diffusion, time_grids
from tools.record import weights

PAPER = "geometric (paper)"


def numbers(caption):
    return [float(n) for n in re.findall(r"-?\d+\.?\d*", re.sub("<[^>]*>", "", caption))]


def test_the_coordinates_explorer_says_what_the_formulas_do():
    explorer = views.coordinates_explorer()
    for beta, x, noise in ((1.0, 0.75, 1.0), (10.0, -0.5, -2.0)):
        explorer.set(beta=beta, x=x, noise=noise)
        assert explorer.error is None
        caption = explorer.caption
        beta = explorer.controls["beta"].value  # which goes by its own steps
        gamma = beta / (1 + beta)
        expected = [gamma * x + math.sqrt(gamma * (1 - gamma)) * noise,
                    math.sqrt(gamma) * x + math.sqrt(1 - gamma) * noise,
                    x + noise / math.sqrt(beta), math.sqrt(beta) * x + noise]
        said = re.search(r"BFN (\S+), diffusion, VP (\S+), EDM (\S+), ODE of notebook 11 (\S+)\. ",
                         caption)
        assert [float(each) for each in said.groups()] == pytest.approx(expected, abs=0.006)
        snr = re.search(r"noise: (.*?)\.</b>", caption).group(1)
        assert [float(each) for each in snr.split(", ")] == pytest.approx([beta] * 4, rel=1e-3)


def test_the_schedule_explorer_says_excess_and_scatter():
    explorer, curve = views.schedule_explorer(), bumps_curve()
    parts = {f"part_{place}": 1.0 for place in range(5)}
    for name, schedule in ((views.BENT, schedules()[PAPER]),
                           ("cosine", schedules()["cosine"])):
        for n in (4, 10):
            explorer.set(name=name, n=n, **parts)
            assert explorer.error is None
            mine, paper, best, least, scatter, _ = numbers(explorer.caption)
            assert mine == pytest.approx(curve.excess(schedule, n), abs=1e-3)
            assert paper == pytest.approx(curve.excess(schedules()[PAPER], n), abs=1e-3)
            assert best <= min(mine, paper) and least == pytest.approx(2.270, abs=1e-3)
            assert scatter == pytest.approx(curve.spread(schedule), abs=6e-3)
    before = explorer.png
    explorer.set(name=views.BENT, part_0=3.0)
    assert explorer.png != before and numbers(explorer.caption)[0] > 1.05 * paper


def test_the_teeth_are_the_messages():
    figure = views.bent_figure(names=(PAPER,), n=5)
    picture = figure.axes[0]
    told, saw = picture.lines[1].get_data()
    curve, steps = bumps_curve(), grid(schedules()[PAPER], 5)
    area = torch.trapezoid(torch.as_tensor(saw), torch.as_tensor(told))
    assert float(area) == pytest.approx(curve.bill(steps), rel=0.02)


# The tools and their records ---------------------------------------------------------------------

SMALL = diffusion.Plan(seeds=2, checkpoints=(2, 4), race_seeds=2, race_steps=4, calls=(3, 6),
                       samples=80, reader_steps=40, nodes=8)


def test_each_contestant_is_trained_on_its_own_loss_and_read_as_a_bfn():
    """Perfect guesses of normal numbers cost nothing by any of the three losses."""
    class Knows(torch.nn.Module):  # one point, x = 0.5
        def forward(self, inputs, t):
            beta = self.flow.schedule.beta(t).unsqueeze(1)
            root = beta.sqrt()
            if self.kind == "BFN":
                return (inputs * (1 + beta) - beta * 0.5) / root
            if self.kind == "diffusion":
                return inputs * (1 + beta).sqrt() - root * 0.5
            return 0.5 - (inputs * (1 + root) - root * 0.5)

    x = torch.full((40, 3), 0.5)
    for kind, make in diffusion.CONTESTANTS.items():
        net = Knows()
        bfn, loss = make(net, 0.03)
        net.kind, net.flow = kind, bfn.flow
        assert float(loss(x, generator(0)).abs().max()) < 1e-3, kind
        assert bfn.flow.beta(1.0) == pytest.approx(0.03**-2 - 1)
        theta = bfn.flow.sample_flow(x, 0.3, generator(1))
        torch.testing.assert_close(bfn.output(theta, 0.3).mean, x, atol=1e-4, rtol=0)
        net.kind = "another"
        net.forward = lambda inputs, t: 0.3 + 0.0 * inputs
        assert float(loss(x, generator(0)).mean()) > 0.1, kind


def test_the_last_fee_is_bayes_rule_on_the_levels():
    bins = diffusion.images()[0]
    x = bins.centres[torch.randint(17, (4000, 2), generator=generator(0))]
    fee = diffusion.last_bits(bins, x, seed=1)
    exact = ExactBFN(bins, bins.centres.unsqueeze(1))
    bill = exact.reconstruction_loss(x[:, :1].double(), generator=generator(2))
    error = float(bill.std()) / len(bill) ** 0.5 / math.log(2)
    assert abs(fee - float(bill.mean()) / math.log(2)) < 4 * error


def test_a_small_run_of_the_tool_has_all_that_the_page_reads():
    found = diffusion.measured(["inputs", "race", "clip"], SMALL)
    assert len(found["clip"]["bits per dimension"]["each"]) == 2
    for name in ("digits", "bumps"):
        assert set(found["inputs"][name]["steps"]) == {"2", "4"}
    assert set(found["race"]["bits per dimension"]) == set(views.LOOKS)
    assert len(found["race"]["Fréchet distance"]) == 3 * 3 * 2
    assert len(found["clip"]["Fréchet distance"]) == 3 * 2
    assert all(len(row["each"]) == 2 for row in found["race"]["Fréchet distance"].values())
    for figure, count in ((views.inputs_figure(found), 2), (views.race_figure(found), 3)):
        assert len(figure.axes) == count
    rows = found["race"]["Fréchet distance"]
    drawn = views.race_figure(found).axes[1].containers[0].lines[0].get_ydata()
    assert list(drawn) == [rows[f"BFN, ab2, {calls} calls"]["mean"] for calls in (3, 6)]


def test_a_grid_of_messages_is_chosen_and_costed():
    points = torch.arange(2).unsqueeze(1).expand(2, 8).contiguous()
    bfn, x = ExactBFN(DiscreteFlow(2, 9.0), points), points.repeat(300, 1)
    found = time_grids.measured(bfn, x, x, 20, 200)
    rows = found["grids"]
    assert rows["paper"]["times"] == [i / 10 for i in range(11)]
    assert rows["paper"]["difference"] == 0
    assert rows["messages"]["nats"] == pytest.approx(
        rows["paper"]["nats"] + rows["messages"]["difference"], abs=2e-3)
    sums = found["curve"]["left sums"]
    assert sums["left sum"] <= min(sums.values()) + 1e-9
    assert sums["paper"] > rows["paper"]["nats"]  # a bound


def test_the_record_of_the_tool_says_how_it_was_made():
    record = data.record("diffusion")
    assert record["command"] == "python -m tools.diffusion" and record["device"] == "cpu"
    plan = diffusion.Plan()
    assert all(record["inputs"][name]["seeds"] == plan.seeds >= 5 for name in ("digits", "bumps"))
    assert record["race"]["seeds"] == plan.race_seeds >= 5
    assert record["clip"]["seeds"] == plan.race_seeds
    assert sum(record[part]["seconds"] for part in diffusion.PARTS) < 15 * 60


@pytest.mark.parametrize("name", ["mnist", "text8"])
def test_the_grids_are_of_the_weights_that_are_shipped(name):
    record = data.record("time_grids")
    again = f"{record['command']} {name}"
    assert record[name]["weights"] == weights(name), f"measured on others: {again}"
    bills, paper = data.record(name)["evaluation"]["elbo"], record[name]["grids"]["paper"]
    assert paper["nats"] > bills["infinity"]["messages"] - 5 * paper["standard error"], again
    if "10" in bills:
        off = paper["nats"] - bills["10"]["messages"]
        error = math.hypot(paper["standard error"], bills["10"]["standard error"])
        assert abs(off) < 5 * error, again
