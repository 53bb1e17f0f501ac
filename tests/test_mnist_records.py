"""What notebook 07 says of the shipped MNIST weights is measured as its tools say."""

import json

import pytest
import torch

from bfn_core import BFN, DiscreteFlow
from bfn_core.calibration import reliability
from bfn_core.data import asset
from bfn_core.data.files import digest
from tests.oracles import generator
from tools import reliability as tool


@pytest.mark.parametrize("name", ["mnist_reliability.json"])
def test_the_record_is_of_the_weights_that_ship(name):
    record = json.loads(asset(name).read_text("utf-8"))
    assert record["weights"] == digest(asset("mnist.safetensors"))[:8]
    assert record["split"] == "test"


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
    assert tool.written(table)["guessed"][0][1] is None
