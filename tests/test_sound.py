"""Strings have the pitch and the decay that they should; Rice's code is as long as it says."""

import pytest
import torch

from bfn_core.data.sound import Strings, predicted_bits
from bfn_core.networks.waves import STRING_FLOW, WaveNetwork
from tests.oracles import generator

STRINGS = Strings()


def test_every_pitch_is_where_it_should_be_and_is_found_again():
    pitch = torch.arange(12).repeat_interleave(20)
    x = STRINGS.pluck(pitch, generator(0))
    assert x.shape == (240, 1024) and float(x.abs().max()) <= 1
    spectrum = torch.fft.rfft(x * torch.hann_window(1024), 1 << 15).abs()
    grid = torch.arange(spectrum.shape[1]) * STRINGS.rate / (1 << 15)
    for p, frequency in enumerate(STRINGS.frequencies.tolist()):
        own = spectrum[pitch == p].mean(0)
        own[(grid < 0.7 * frequency) | (grid > 1.4 * frequency)] = 0
        assert float(grid[own.argmax()]) == pytest.approx(frequency, rel=0.008)
    assert float((STRINGS.pitch_of(x) == pitch).float().mean()) > 0.97
    noise = torch.randn(200, 1024, generator=generator(1))
    assert float(STRINGS.clearness(noise).mean()) < 0.3 < float(STRINGS.clearness(x).mean())


def test_the_fundamental_falls_as_was_asked():
    for p in (0, 6, 11):
        x = STRINGS.pluck(torch.full((200,), p), generator(2))
        n = torch.arange(1024)
        wave = torch.exp(-2j * torch.pi * STRINGS.frequencies[p] * n / STRINGS.rate)
        early, late = ((x * wave)[:, s : s + 256].sum(1).abs().square().mean().sqrt()
                       for s in (200, 680))
        assert float(early / late) == pytest.approx(2.718, rel=0.05)  # 480 samples apart


def test_pitches_are_even_and_bad_ones_refused():
    _, pitch = Strings(length=32).draw(6000, generator(3))
    counts = torch.bincount(pitch, minlength=12)
    assert float(((counts - 500) ** 2 / 500).sum()) < 31.3  # one time in a thousand above
    for wrong in (torch.tensor([12]), torch.tensor([0.0]), torch.tensor([[0]])):
        with pytest.raises(ValueError, match="pitch must be"):
            STRINGS.pluck(wrong)
    with pytest.raises(ValueError, match="rate must be"):
        Strings(rate=3000)
    with pytest.raises(ValueError, match="decay must be shorter"):
        Strings(decay=5000.0)


def test_rice_pays_little_for_what_is_foretold_and_no_less_than_noise_needs():
    wave = (100 * torch.sin(0.3 * torch.arange(512))).round().long() + 128
    noise = torch.randint(256, (1, 512), generator=generator(4))
    bits, order = predicted_bits(torch.cat([wave.unsqueeze(0), noise]))
    assert bits[0] / 512 < 2.5 < 7.9 < bits[1] / 512 < 9.5
    assert order.dtype == torch.int64
    # By hand: order 2 on a constant foretells all: 2 first samples, weights, and a bit for each.
    flat = torch.full((1, 130), 200)
    assert predicted_bits(flat, (2,))[0].item() == 3 + 24 + 16 + 4 + 128
    with pytest.raises(ValueError, match="codes must be"):
        predicted_bits(torch.zeros(2, 8))


def test_a_wave_network_without_knowledge_guesses_the_best_linear_estimate():
    network = WaveNetwork(STRING_FLOW.gamma, torch.full((32,), 0.4), hidden=16, depth=1)
    for parameter in network.body.head.parameters():
        torch.nn.init.zeros_(parameter)
    x, t = 0.4 * torch.randn(4000, 32, generator=generator(5)).clamp(-2, 2), 0.1
    theta = STRING_FLOW.sample_flow(STRING_FLOW.quantise(x), t, generator(6))
    out = STRING_FLOW.output(network(theta.mean, torch.full((4000,), t)), theta, t)
    g = float(STRING_FLOW.gamma(t))
    right = theta.mean * 0.16 / (g * 0.16 + 1 - g)
    torch.testing.assert_close(out.loc if hasattr(out, "loc") else out.normal_mean, right,
                               rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="multiple of group"):
        WaveNetwork(STRING_FLOW.gamma, torch.ones(30))
