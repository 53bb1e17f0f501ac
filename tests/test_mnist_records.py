"""What notebook 07 says of the shipped MNIST weights is measured as its tools say."""

import json
import math

import pytest
import torch

from bfn_core import BFN, DiscreteFlow, Estimate, ExactBFN
from bfn_core.calibration import reliability
from bfn_core.data import asset
from bfn_core.data.files import digest
from bfn_core.official import OfficialDiscreteFlow
from tests.oracles import generator
from tools import pricing
from tools import reliability as tool

POINTS = (torch.rand(4, 1, 5, 5, generator=generator(0)) < 0.3).long()


@pytest.mark.parametrize("name", ["mnist_pricing.json", "mnist_reliability.json"])
def test_the_record_is_of_the_weights_that_ship(name):
    record = json.loads(asset(name).read_text("utf-8"))
    assert record["weights"] == digest(asset("mnist.safetensors"))[:8]
    assert record["split"] == "test"


@pytest.mark.parametrize("n", [3, 10])
def test_prices_are_those_of_the_two_flows(n):
    """For the perfect network of four images: L^n by (190), and as the authors' code has it."""
    bfn = ExactBFN(DiscreteFlow(2, 9.0), POINTS)
    x = POINTS[torch.randint(4, (16_000,), generator=generator(1))]
    one, more = pricing.prices(bfn, x, n, generator(2))
    wanted = {}
    for kind in (DiscreteFlow, OfficialDiscreteFlow):
        flow = kind(2, 9.0)
        twin = ExactBFN(flow, POINTS)
        with torch.no_grad():
            wanted[kind] = Estimate.of(twin.loss_n(x, n, generator=generator(3)))
    for found, kind in ((one, DiscreteFlow), (one + more, OfficialDiscreteFlow)):
        found = Estimate.of(found)
        spread = math.hypot(found.standard_error, wanted[kind].standard_error)
        assert abs(found.mean - wanted[kind].mean) < 4 * spread < 0.2 * wanted[kind].mean
    more = Estimate.of(more)
    assert more.mean > 4 * more.standard_error


def test_tables_and_beliefs_are_judged_as_what_they_say():
    ink = torch.tensor([0.05, 0.35, 0.95]).expand(1, 1, 3)
    x = (torch.rand(4000, 1, 1, 3, generator=generator(4)) < ink).long()
    flow = DiscreteFlow(2, 9.0)
    table = reliability(BFN(flow, tool.Table(ink)), x, [0.3], generator=generator(5))
    assert table.guessed[0, [0, 3, 9]].tolist() == pytest.approx([0.05, 0.35, 0.95])
    assert table.gap < 0.02
    believer = BFN(flow, tool.Believer())  # right where ink is as likely as paper, else not
    gaps = {}
    for share in (0.5, 0.1):
        x = (torch.rand(4000, 1, 1, 3, generator=generator(6)) < share).long()
        gaps[share] = reliability(believer, x, [0.2], generator=generator(7)).gap
    assert gaps[0.5] < 0.02 < 0.2 < gaps[0.1]
    assert table.row()["guessed"][0][1] is None
