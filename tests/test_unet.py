"""The U-Net: the contract's shapes for the three flows, its sizes, and what conditions it."""

import pytest
import torch

from bfn_core import BFN, ContinuousFlow, DiscreteFlow, DiscretisedFlow
from bfn_core.modes import evaluating
from bfn_core.networks.unet import DepthwiseBlock, UNet, noise_differences

SMALL = {"channels": 8, "multipliers": (1, 2), "blocks": 1, "attention": (1,)}


def random_weights(network, seed=0):
    """The zero initialisation of the last layers hides what reaches them."""
    torch.manual_seed(seed)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return network


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("flow", "arguments"),
    [
        (ContinuousFlow(0.02), {}),
        (DiscretisedFlow(16, 0.02), {"outputs": 2}),
        (DiscreteFlow(2, 9.0), {"classes": 2}),
        (DiscreteFlow(4, 9.0), {"classes": 4, "patch": 2}),
        (DiscretisedFlow(16, 0.02), {"outputs": 2, "depthwise": 5}),
    ],
)
def test_each_flow_gets_the_shape_it_needs(flow, arguments, channels):
    network = random_weights(UNet(channels, **SMALL, **arguments))
    bfn = BFN(flow, network)
    x = bfn.sample((2, channels, 8, 12), n_steps=2)
    assert x.shape == (2, channels, 8, 12)
    bfn.train()
    bfn.loss(x).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("arguments", [{}, {"classes": 2}, {"outputs": 2, "fourier": 2},
                                       {"classes": 2, "depthwise": 3}])
def test_every_input_pixel_and_the_time_reach_every_output_pixel(arguments):
    network = random_weights(UNet(**SMALL, **arguments)).double()
    shape = (1, 1, 8, 8, 2) if "classes" in arguments else (1, 1, 8, 8)
    inputs = torch.rand(shape, dtype=torch.float64).requires_grad_()
    t = torch.tensor([0.3], dtype=torch.float64, requires_grad=True)
    out = network(inputs, t)
    for pixel in (out[0, 0, 0, 0], out[0, 0, 7, 3]):
        gradients = torch.autograd.grad(pixel.sum(), (inputs, t), retain_graph=True)
        assert all((g != 0).all() for g in gradients if g.dim() == 1)
        reached = gradients[0].abs().reshape(8, 8, -1).sum(-1)
        assert (reached > 0).all()  # through the attention


@torch.no_grad()
def test_a_depthwise_block_looks_around_channel_by_channel_and_mixes_them_at_each_pixel():
    torch.manual_seed(0)
    block = random_weights(DepthwiseBlock(6, 4, 3, 0.0, None, 5)).double()
    x, time = torch.randn(2, 6, 7, 9).double(), torch.randn(2, 3).double()
    past = torch.einsum("oi,bihw->bohw", block.skip.weight[..., 0, 0], x)
    past = past + block.skip.bias[:, None, None]
    framed = torch.nn.functional.pad(past, (2, 2, 2, 2))
    h = block.around.bias[None, :, None, None].expand(2, 4, 7, 9).clone()
    for i in range(5):
        for j in range(5):
            h += block.around.weight[:, 0, i, j, None, None] * framed[:, :, i : i + 7, j : j + 9]
    h = (h - h.mean((1, 2, 3), keepdim=True)) / (
        h.var((1, 2, 3), correction=0, keepdim=True) + block.norm.eps).sqrt()
    h = h * block.norm.weight[:, None, None] + block.norm.bias[:, None, None]
    scale, shift = block.time(time).chunk(2, 1)
    h = (h * (1 + scale[..., None, None]) + shift[..., None, None]).movedim(1, -1)
    h = torch.nn.functional.linear(h, block.conv1.weight[..., 0, 0], block.conv1.bias)
    h = 0.5 * h * (1 + (h / 2**0.5).erf())
    h = torch.nn.functional.linear(h, block.conv2.weight[..., 0, 0], block.conv2.bias)
    torch.testing.assert_close(block(x, time), past + h.movedim(-1, 1))


@torch.no_grad()
@pytest.mark.parametrize("depthwise", [0, 7])
def test_a_new_block_has_no_effect(depthwise):
    network = UNet(**SMALL | {"depthwise": depthwise})
    x = torch.randn(2, 8, 6, 6)
    (block,) = network.down[0]
    assert torch.equal(block(x, torch.randn(2, 32)), x)


def test_a_depthwise_network_is_told_by_an_odd_number():
    for wrong in (2, 4, -1):
        with pytest.raises(ValueError, match=f"odd and above it, got {wrong}"):
            UNet(**SMALL, depthwise=wrong)


def test_an_untrained_network_returns_the_belief_of_discrete_data():
    network = UNet(classes=3, **SMALL)
    probs = torch.rand(2, 1, 4, 4, 3).softmax(-1)
    assert torch.allclose(network(probs, torch.rand(2)).softmax(-1), probs, atol=1e-6)
    without = UNet(classes=3, prior_skip=False, **SMALL)
    assert torch.equal(without(probs, torch.rand(2)), torch.zeros(2, 1, 4, 4, 3))


def test_a_certain_belief_gives_finite_logits():
    probs = torch.tensor([1.0, 0.0]).expand(1, 1, 4, 4, 2)
    assert UNet(classes=2, **SMALL)(probs, torch.ones(1)).isfinite().all()


def test_fourier_features_tell_neighbouring_bins_apart():
    bins = (2 * torch.arange(256) + 1) / 256 - 1
    network = UNet(fourier=2, **SMALL)
    planes = network.planes(bins.reshape(1, 1, 16, 16), torch.ones(1))[0].flatten(1)  # (5, 256)
    distance = (planes[1:, :-1] - planes[1:, 1:]).norm(dim=0)
    assert planes.shape[0] == 5 and distance.min() > 1  # the bins themselves are 0.008 apart


def test_differences_see_noise_of_any_accuracy_at_one_scale():
    """On a flat grey image all differences are of noise alone: two units' variance at any t."""
    flow, generator = ContinuousFlow(1e-3), torch.Generator().manual_seed(0)
    x = torch.full((1, 3, 64, 64), 0.3)
    for t in torch.tensor([[0.02], [0.5], [0.97]]):
        mean = flow.sample_flow(x, t, generator).mean
        for seen in noise_differences(mean, t, 1e-3):
            inside = seen.sinh()[:, :, 1:-1, 1:-1]
            assert inside.var() == pytest.approx(2, rel=0.1)
    still = noise_differences(torch.zeros(1, 3, 4, 4), torch.zeros(1), 1e-3)
    assert not torch.stack(still).any()


def test_differences_are_to_the_neighbours_and_to_the_channel_before():
    mean = torch.zeros(1, 3, 5, 5)
    mean[0, 1, 2, 3] = 1.0
    above, below, left, right, channel = noise_differences(mean, torch.full((1,), 0.5), 0.1)
    assert above[0, 1, 3, 3] > 0 and below[0, 1, 1, 3] > 0
    assert left[0, 1, 2, 4] > 0 and right[0, 1, 2, 2] > 0
    assert channel[0, 2, 2, 3] > 0
    for seen in (above, below, left, right, channel):
        assert seen[0, 1, 2, 3] < 0 and (seen != 0).sum() == 2


@pytest.mark.parametrize(
    ("arguments", "low", "high"),
    [
        ({"channels": 16, "multipliers": (1, 2, 2), "blocks": 1, "attention": ()}, 0.05e6, 0.15e6),
        ({"channels": 128, "multipliers": (1, 2, 2), "blocks": 3, "attention": (1,)}, 8e6, 30e6),
    ],
)
def test_arguments_alone_set_the_size(arguments, low, high):
    with torch.device("meta"):
        network = UNet(classes=2, **arguments)
    assert low < sum(p.numel() for p in network.parameters()) < high


def test_bad_input_is_named():
    network = UNet(classes=2, **SMALL)
    with pytest.raises(ValueError, match=r"\(C, K\) = \(1, 2\)"):
        network(torch.rand(1, 1, 8, 8), torch.rand(1))
    with pytest.raises(ValueError, match=r"\(C, K\) = \(1, 2\)"):
        network(torch.rand(1, 1, 8, 8, 3), torch.rand(1))
    with pytest.raises(ValueError, match="multiples of 2"):
        network(torch.rand(1, 1, 7, 8, 2), torch.rand(1))
    with pytest.raises(ValueError, match="differences are for means"):
        UNet(classes=2, differences=1e-3, **SMALL)
    with pytest.raises(ValueError, match=r"\(B, C, H, W\) with C = \(3,\)"):
        UNet(3, **SMALL)(torch.rand(1, 1, 8, 8), torch.rand(1))


def test_it_computes_on_a_device_of_which_torchs_autocast_knows_nothing(no_autocast):
    """As torch 2.4 knows nothing of a Mac's GPU, and raises an error where autocast is ended."""
    network, x = random_weights(UNet(**SMALL | {"attention": ()})), torch.randn(2, 1, 8, 8)
    expected = network(x, torch.full((2,), 0.5))
    no_autocast()
    assert torch.equal(network(x, torch.full((2,), 0.5)), expected)


def test_dropout_is_off_when_evaluating():
    network = random_weights(UNet(dropout=0.5, **SMALL))
    inputs, t = torch.rand(1, 1, 8, 8), torch.rand(1)
    assert not torch.equal(network(inputs, t), network(inputs, t))
    network.eval()
    assert torch.equal(network(inputs, t), network(inputs, t))


def test_a_part_in_training_is_still_while_the_whole_evaluates_and_gets_its_mode_back():
    network = random_weights(UNet(dropout=0.5, **SMALL)).eval()
    network.down[0].train()
    inputs, t = torch.rand(1, 1, 8, 8), torch.rand(1)
    assert not torch.equal(network(inputs, t), network(inputs, t))
    with evaluating(network):
        assert torch.equal(network(inputs, t), network(inputs, t))
    parts = [part.training for part in network.down[0].modules()]
    assert all(parts) and not network.training and not network.up.training
