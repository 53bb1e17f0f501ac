"""What must hold on the device at hand: the CPU, unless BFN_TEST_GPU=1 lets the tests take a GPU.

    BFN_TEST_GPU=1 pytest tests/test_on_device.py

Where the draws of two devices differ, their results are compared for the same noise, or in law.
"""

from dataclasses import replace

import pytest
import torch

from bfn_core import (
    BFN,
    ContinuousFlow,
    DiscreteFlow,
    DiscretisedFlow,
    ExactBFN,
    Solver,
    elbo,
    training,
)
from bfn_core.infilling import fill
from bfn_core.networks.mlp import MLP
from bfn_core.training import build, settings_for
from bfn_core.training.devices import card, device_type
from bfn_core.training.loop import draw_batch
from bfn_core.training.runs import Run

DEVICE = device_type()
TASKS = ("mnist", "cifar10", "text8")
pytestmark = pytest.mark.usefixtures("one_thread")


def batch_of(settings, count=4):
    task = training.load_task(settings)
    flow = build(settings).flow
    small = replace(settings, batch=count)
    batch = draw_batch(task, flow, small, 0, torch.Generator())
    return batch.x, batch.t, batch.theta


@pytest.mark.parametrize("name", TASKS)
def test_a_network_and_its_cost_are_those_of_the_cpu(name):
    settings = settings_for(name, "smoke")
    torch.manual_seed(0)
    bfn = build(settings).eval()
    for p in bfn.parameters():  # the last layers begin at 0, where every network is the same
        torch.nn.init.normal_(p, std=0.05)
    x, t, theta = batch_of(settings)

    def cost(device):
        there = type(theta)(**{k: v.to(device) for k, v in vars(theta).items()})
        bfn.to(device)
        with torch.no_grad():
            output = bfn.output(there, t.to(device))
            return bfn.flow.rate_cost(x.to(device), output, t.to(device)).cpu()

    assert torch.allclose(cost("cpu"), cost(DEVICE), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", TASKS)
def test_a_deterministic_run_repeats_and_resumes_to_the_last_digit(name, tmp_path):
    settings = replace(
        settings_for(name, "smoke"), steps=6, validate_every=4, checkpoint_every=3, log_every=1,
        deterministic=True,
    )

    def stop(record):
        if record["step"] == 3 and "loss" in record:
            raise KeyboardInterrupt

    training.train(settings, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        training.train(settings, tmp_path / "broken", watch=stop)
    training.train(settings, tmp_path / "broken", resume=True)
    one, other = (
        [{k: v for k, v in row.items() if k != "seconds"} for row in Run(folder).read_metrics()]
        for folder in (tmp_path / "whole", tmp_path / "broken")
    )
    assert one == other


@pytest.mark.parametrize("name", TASKS)
def test_mixed_precision_learns_what_float32_learns(name, tmp_path):
    gpu = card()
    precision = gpu.precision if gpu else "bf16"
    if DEVICE == "mps":
        pytest.skip("which precisions a Mac has depends on its system")
    losses = {}
    for kind in ("no", precision):
        settings = replace(settings_for(name, "smoke"), precision=kind, log_every=1)
        training.train(settings, tmp_path / kind)
        rows = [row for row in Run(tmp_path / kind).read_metrics() if "loss" in row]
        losses[kind] = [row["loss"] for row in rows]
    # The same batches and noise; the first steps differ by the precision alone.
    assert losses[precision][:3] == pytest.approx(losses["no"][:3], rel=0.05)


@pytest.mark.parametrize("kind", ["continuous", "discretised", "discrete"])
def test_the_perfect_network_costs_and_draws_the_same_in_law(kind):
    flow = {
        "continuous": ContinuousFlow(0.05), "discretised": DiscretisedFlow(8, 0.05),
        "discrete": DiscreteFlow(3, 6.0),
    }[kind]
    shared = torch.Generator().manual_seed(0)
    points = torch.randint(3, (5, 4), generator=shared)
    if kind != "discrete":
        points = flow.centres[points] if kind == "discretised" else points / 2 - 0.5
    found = []
    for device in ("cpu", DEVICE):
        there = points.to(device)
        bfn = ExactBFN(flow, there)
        generator = torch.Generator(device).manual_seed(1)
        bound = elbo(bfn, there.repeat(400, *[1] * (there.dim() - 1)), generator=generator)
        drawn = bfn.sample((200, 4), 30, generator=generator).float().mean().item()
        known = torch.tensor([True, True, False, False], device=device)
        filling = fill(bfn, there[0], known, 5, 8, generator=generator)
        assert torch.equal(filling.x[:, :2].cpu(), there[0, :2].expand(8, 2).cpu())
        solver = Solver("ab2", noise=0.5)
        solved = bfn.sample((200, 4), 12, sampler=solver, generator=generator).float().mean().item()
        assert abs(solved - drawn) < 0.25
        options = {"weigh": False, "sampler": solver, "generator": generator}
        filling = fill(bfn, there[0], known, 5, 8, **options)
        assert torch.equal(filling.x[:, :2].cpu(), there[0, :2].expand(8, 2).cpu())
        found.append((bound.messages, drawn))
    (one, mean), (other, mean_there) = found
    error = (one.standard_error**2 + other.standard_error**2) ** 0.5
    assert abs(one.mean - other.mean) < 4 * error
    assert abs(mean - mean_there) < 0.25


def test_a_step_by_hand_learns():
    torch.manual_seed(0)
    bfn = BFN(DiscreteFlow(3, 4.0), MLP(12, (4, 3), hidden=32, depth=1)).to(DEVICE)
    optimiser = torch.optim.AdamW(bfn.parameters(), 1e-2)
    x = torch.tensor([[0, 1, 2, 0]], device=DEVICE).repeat(64, 1)
    losses = []
    for _ in range(60):
        loss = bfn.loss(x).mean()
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
    assert sum(losses[-10:]) < 0.2 * sum(losses[:10])
