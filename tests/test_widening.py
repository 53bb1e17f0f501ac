"""A trained U-Net in a wider one that computes the same."""

import pytest
import torch

from bfn_core.networks.unet import UNet
from bfn_core.networks.widening import widened

pytestmark = pytest.mark.usefixtures("one_thread")

# Two groups of 8 channels to a norm at the first level, four heads of 8 at the second.
SMALL = {"classes": 2, "channels": 16, "multipliers": (1, 2), "blocks": 2, "attention": (1,),
         "head_width": 8}
WIDE = {**SMALL, "channels": 24}
INPUTS = {
    "classes": torch.rand(3, 1, 8, 8, 2, generator=torch.Generator().manual_seed(1)).softmax(-1),
    "colour": torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(2)),
}


def trained(**arguments):
    """A U-Net as if it had been trained: no weight is zero, in double precision."""
    network = UNet(**arguments).double()
    generator = torch.Generator().manual_seed(3)
    for weight in network.parameters():
        weight.data = 0.3 * torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
    return network


def grown(network, **arguments):
    """The wider one."""
    wide = UNet(**arguments).double()
    wide.load_state_dict(widened(network.state_dict(), wide))
    return wide


@pytest.mark.parametrize("other", [
    {}, {"channels": 32}, {"labels": 4, "hints": 1}, {"patch": 2}, {"depthwise": 5},
    {"classes": None, "image_channels": 3, "outputs": 2, "fourier": 2, "differences": 0.1},
])
def test_the_wider_network_computes_the_same(other):
    common = {name: value for name, value in other.items() if name != "channels"}
    narrow = trained(**{**SMALL, **common})
    wide = grown(narrow, **{**WIDE, **other})
    inputs = INPUTS["colour" if "image_channels" in other else "classes"].double()
    t = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    told = None
    if "labels" in other:
        told = {"label": torch.tensor([0, 3, -1]), "hints": inputs[..., 0]}
    raw = narrow(inputs, t, told)
    assert raw.std() > 0.1
    assert torch.allclose(wide(inputs, t, told), raw, rtol=1e-9, atol=1e-9)


def test_what_was_repeated_learns_different_things():
    wide = grown(trained(**SMALL), **WIDE)
    first = wide.first.weight
    assert torch.equal(first[16:], first[:8])  # a whole group
    wide(INPUTS["classes"].double(), torch.full((3,), 0.5).double()).square().sum().backward()
    assert not torch.allclose(first.grad[16:], first.grad[:8], rtol=0.1)
    again, other = (widened(trained(**SMALL).state_dict(), wide, seed) for seed in (0, 1))
    assert all(torch.equal(again[name], wide.state_dict()[name]) for name in again)
    assert not torch.equal(again["last.weight"], other["last.weight"])


@pytest.mark.parametrize("other, reason", [
    ({"channels": 16}, "16 channels is not wider"), ({"channels": 8}, "not wider"),
    ({"channels": 20}, "groups of different sizes|cannot be repeated"),
    ({"multipliers": (1, 3)}, "are expected"), ({"blocks": 1}, "no layer"),
    ({"attention": ()}, "no layer"), ({"head_width": 48}, "cannot be repeated"),
    ({"blocks": 3}, "Missing key"), ({"classes": 3}, "size mismatch for first.weight"),
    ({"depthwise": 3}, "no layer"),
])
def test_what_cannot_compute_the_same_is_refused(other, reason):
    with pytest.raises((ValueError, RuntimeError), match=reason):  # the latter by torch
        grown(trained(**SMALL), **{**WIDE, **other})


def test_groups_that_grow_with_the_width_are_refused():
    # 256 channels have 32 groups of 8, 512 have 32 of 16.
    arguments = {"multipliers": (1,), "blocks": 1, "attention": ()}
    narrow = UNet(channels=256, **arguments).state_dict()
    with pytest.raises(ValueError, match="groups of different sizes"):
        widened(narrow, UNet(channels=512, **arguments))


def test_weights_of_no_unet_are_refused():
    with pytest.raises(ValueError, match="not wider than one of 0"):
        widened({"layers.0.weight": torch.zeros(3, 3)}, UNet(**WIDE))
