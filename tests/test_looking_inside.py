"""Looking inside a network: what is found is what it computed."""

import torch

from bfn_core import DiscreteFlow
from bfn_core.data.strings import palindromes
from bfn_core.looking_inside import activations, attention_weights
from bfn_core.networks.attention import attend
from bfn_core.networks.transformer import Transformer
from bfn_core.networks.unet import UNet
from tests.oracles import generator, shaken


def test_activations_are_what_the_layers_put_out_and_leave_no_hook():
    network = UNet(1, outputs=2, channels=8, multipliers=(1, 2), blocks=1, attention=(1,))
    shaken(network)
    inputs, t = torch.randn(2, 1, 8, 8, generator=generator(1)), torch.tensor([0.2, 0.8])
    found = activations(network, {"first": network.first, "last": network.last}, inputs, t)
    with torch.no_grad():
        torch.testing.assert_close(found["first"], network.first(inputs))
        by_hand = found["last"].permute(0, 2, 3, 1).unsqueeze(1)
        torch.testing.assert_close(by_hand, network(inputs, t))
    assert not network.first._forward_hooks and network.training


def test_who_reads_whom_gives_what_attention_reads():
    language = palindromes("abc", 2)
    network = shaken(Transformer(3, language.length, layers=2, heads=2, width=16))
    theta = DiscreteFlow(3, 2.0).sample_flow(language.data, 0.4, generator=generator(2))
    t = torch.full((len(theta.probs),), 0.4)
    weights = attention_weights(network, theta.probs, t)
    assert weights.shape == (2, 9, 2, 4, 4)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 9, 2, 4))
    for number, block in enumerate(network.blocks):
        qkv = activations(network, {"": block.qkv}, theta.probs, t)[""]
        value = qkv.unflatten(-1, (3, 2, -1))[:, :, 2].transpose(1, 2)
        read = (weights[number] @ value).transpose(1, 2).flatten(2)
        torch.testing.assert_close(read, attend(qkv, 2))
