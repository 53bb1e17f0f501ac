"""Strings have the pitch and the decay that they should; Rice's code is as long as it says."""

import base64
import math

import pytest
import torch

from bfn_core import BFN, elbo
from bfn_core.data.sound import PluckedStrings, ecg, kept_sound, predicted_bits, windows
from bfn_core.networks.mlp import MLP
from bfn_core.networks.wave_unet import Attention, WaveUNet
from bfn_core.networks.waves import STRING_FLOW, SubspaceNetwork, WaveNetwork, string_model
from bfn_core.solvers import Solver
from bfn_core.training.brief import fit
from tests.oracles import generator

STRINGS = PluckedStrings()


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
    _, pitch = PluckedStrings(length=32).draw(6000, generator(3))
    counts = torch.bincount(pitch, minlength=12)
    assert float(((counts - 500) ** 2 / 500).sum()) < 31.3  # one time in a thousand above
    for wrong in (torch.tensor([12]), torch.tensor([0.0]), torch.tensor([[0]])):
        with pytest.raises(ValueError, match="pitch must be"):
            STRINGS.pluck(wrong)
    with pytest.raises(ValueError, match="rate must be"):
        PluckedStrings(rate=3000)
    with pytest.raises(ValueError, match="decay must be shorter"):
        PluckedStrings(decay=5000.0)


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


def test_the_decay_that_one_hears_is_the_laws():
    x, _ = STRINGS.draw(400, generator(7))
    assert float(STRINGS.decay_of(x).median()) == pytest.approx(480, rel=0.03)
    short = PluckedStrings(decay=200.0)
    assert float(short.decay_of(short.draw(400, generator(8))[0]).median()) == pytest.approx(
        200, rel=0.05)


def test_the_colour_of_a_tone_is_in_its_harmonics():
    n, f = torch.arange(1024), float(STRINGS.frequencies[4])
    tone = sum(a * torch.sin(2 * torch.pi * k * f * n / STRINGS.rate + k)
               for k, a in ((1, 3.0), (2, 1.0), (4, 2.0)))
    shares = STRINGS.harmonics_of(tone[None])[0]
    torch.testing.assert_close(shares, torch.tensor([9.0, 1.0, 0.0, 4.0]) / 14, rtol=0, atol=0.01)


def test_a_wave_network_without_knowledge_guesses_the_best_linear_estimate():
    x, t = 0.4 * torch.randn(4000, 32, generator=generator(5)).clamp(-2, 2), 0.1
    theta = STRING_FLOW.sample_flow(STRING_FLOW.quantise(x), t, generator(6))
    g = float(STRING_FLOW.gamma(t))
    right = theta.mean * 0.16 / (g * 0.16 + 1 - g)
    blank = MLP(32, (34,), hidden=16, depth=1)
    for parameter in blank.head.parameters():
        torch.nn.init.zeros_(parameter)
    for body in (blank, WaveUNet(32, (8, 8, 8))):  # the U-Net begins at 0
        network = WaveNetwork(STRING_FLOW.gamma, torch.full((32,), 0.4), body)
        with torch.no_grad():
            out = STRING_FLOW.output(network(theta.mean, torch.full((4000,), t)), theta, t)
        torch.testing.assert_close(out.loc, right, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="multiple of group"):
        WaveNetwork(STRING_FLOW.gamma, torch.ones(30))


def shaken(length=256, channels=(8, 16, 16)):
    """A U-Net of which no part is without effect."""
    torch.manual_seed(0)
    network = WaveUNet(length, channels)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "norm" not in name:
                parameter.normal_(std=0.2)
    return network


def test_a_u_net_of_waves_gives_a_wave_and_its_widths():
    network, x = shaken(64), torch.randn(3, 64, generator=generator(9))
    early, late = (network(x, torch.full((3,), t)) for t in (0.1, 0.6))
    assert early.shape == (3, 64 + 4)
    assert bool(((early - late).abs() > 0.01).any())  # it reads the time
    apart = torch.cat([network(x[i : i + 1], torch.tensor([0.1])) for i in range(3)])
    torch.testing.assert_close(apart, early, rtol=1e-4, atol=1e-5)
    early.square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and float(parameter.grad.abs().sum()) > 0, name
    with pytest.raises(ValueError, match="multiple of 32"):
        WaveUNet(48)


def test_attention_is_what_hears_across_a_whole_wave():
    network = shaken(1024, (8, 8, 8))
    network.norm = torch.nn.Identity()  # what is normed over a wave hears all of it as well
    for block in [block for pair in (*network.down, *network.up) for block in pair]:
        block.norm1 = block.norm2 = torch.nn.Identity()
    looks = [module for module in network.modules() if isinstance(module, Attention)]
    for look in looks:
        look.norm = torch.nn.Identity()

    def heard():
        """How far each sample moves the first but few of the output, (L,)."""
        x = torch.randn(1, 1024, generator=generator(9), requires_grad=True)
        network(x, torch.tensor([0.3]))[0, 4].backward()
        assert x.grad is not None
        return x.grad[0].abs()

    assert len(looks) == 6 and bool((heard()[800:] > 0).any())
    for look in looks:
        torch.nn.init.zeros_(look.out.weight)
    deaf = heard()
    assert bool((deaf[:256] > 0).any())
    # Convolutions alone hear 8 positions of 32 samples away, and twice 8 of 16 and 8 of 4 around.
    assert bool((deaf[700:] == 0).all())


def test_a_u_net_without_places_shifts_with_the_wave():
    """By whole positions of its lowest level, away from the ends."""
    network = shaken(1024, (8, 8, 8))
    for module in network.modules():
        if isinstance(module, Attention):
            torch.nn.init.zeros_(module.out.weight)
    for place in network.place:
        torch.nn.init.zeros_(place)
    x, t = torch.zeros(1, 1024), torch.tensor([0.3])
    x[0, 500:540] = torch.randn(40, generator=generator(9))
    with torch.no_grad():
        one, moved, odd = (network(x.roll(k, 1), t)[:, :1024] for k in (0, 32, 31))
    middle = slice(450, 600)
    torch.testing.assert_close(moved.roll(-32, 1)[:, middle], one[:, middle], rtol=1e-3, atol=1e-3)
    assert float((odd.roll(-31, 1) - one)[:, middle].abs().max()) > 0.05


def test_a_small_u_net_learns_short_strings():
    strings, rng = PluckedStrings(length=64), generator(20)
    x = STRING_FLOW.quantise(strings.draw(600, rng)[0])
    torch.manual_seed(0)
    body = WaveUNet(64, (16, 16, 16))
    bfn = BFN(STRING_FLOW, WaveNetwork(STRING_FLOW.gamma, x[:500].std(0), body))
    bills = []
    for steps in (0, 120):
        if steps:
            fit(bfn, lambda g: x[torch.randint(500, (64,), generator=g)], steps)
        bills.append(elbo(bfn.eval(), x[500:], repeats=2, generator=generator(21)).total.mean)
    assert bills[1] < 0.9 * bills[0]  # untrained, it knows each sample's spread and no neighbours


def test_a_heart_beats_three_times():
    x = ecg()
    assert x.shape == (1024,) and x.dtype == torch.float32
    assert float(x.abs().max()) <= 1 and torch.equal(x * 256, (x * 256).round())
    peaks = (x[1:-1] > 0.5) & (x[1:-1] >= x[:-2]) & (x[1:-1] > x[2:])
    places = peaks.nonzero()[:, 0] + 1
    assert len(places) == 3 and bool((places.diff() - 329).abs().max() <= 2)


def test_pieces_touch_nothing_that_is_held_out():
    x = torch.arange(20.0)
    found = windows(x, 4, without=(6, 12))
    assert found.shape == (3 + 5, 4)
    assert found[0].tolist() == [0, 1, 2, 3] and found[-1].tolist() == [16, 17, 18, 19]
    assert not ((found >= 6) & (found < 12)).any()
    assert windows(x, 4, without=(0, 12)).shape == (5, 4)
    with pytest.raises(ValueError, match="without must be"):
        windows(x, 4, without=(6, 21))
    with pytest.raises(ValueError, match="no piece of 9 samples is left"):
        windows(x, 9, without=(6, 12))


def mixture():
    """A network with two subspaces of two dimensions in six, in float64."""
    network = SubspaceNetwork(STRING_FLOW.gamma, 6, 2, 2).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator(10)))
        network.log_rest.fill_(-3.0)
    return network


def test_a_subspace_network_is_bayes_rule():
    """Against the posterior of each normal law with its covariance written out."""
    network, t = mixture(), torch.tensor([0.02, 0.05], dtype=torch.float64)
    v2 = (1 / STRING_FLOW.gamma(t) - 1)[:, None]
    heard = torch.randn(2, 6, generator=generator(11), dtype=torch.float64)
    with torch.no_grad():
        out = network(heard / (1 + v2), t)
        mean, std = heard - v2.sqrt() * out[..., 0], v2.sqrt() * out[..., 1].exp()
        lines = torch.linalg.qr(network.basis).Q
        for i in range(2):
            posts, logs = [], []
            for k in range(2):
                inside = lines[k] @ network.log_power[k].exp().diag() @ lines[k].T
                n2 = (v2[i] + network.log_rest.exp()).squeeze()
                whole = inside + n2 * torch.eye(6, dtype=torch.float64)
                law = torch.distributions.MultivariateNormal(torch.zeros(6).double(), whole)
                logs.append(network.log_share[k] + law.log_prob(heard[i]))
                gain = inside @ torch.linalg.inv(whole)
                posts.append((gain @ heard[i], (inside - gain @ inside).diag()))
            w = torch.stack(logs).softmax(0)
            m = w[0] * posts[0][0] + w[1] * posts[1][0]
            var = sum(w[k] * (posts[k][1] + posts[k][0] ** 2) for k in range(2)) - m**2
            torch.testing.assert_close(mean[i], m, rtol=1e-6, atol=1e-8)
            torch.testing.assert_close(std[i], var.sqrt(), rtol=1e-6, atol=1e-8)
            assert 0.02 < float(w[0]) < 0.98  # else one law alone would do


def test_principal_components_of_groups_are_found():
    true = mixture().requires_grad_(False)
    lines, power = torch.linalg.qr(true.basis).Q, true.log_power.exp()
    groups = torch.randint(2, (40_000,), generator=generator(12))
    z = torch.randn(40_000, 2, generator=generator(13), dtype=torch.float64) * power.sqrt()[groups]
    x = torch.einsum("br,blr->bl", z, lines[groups])
    x = x + 0.05 * torch.randn(x.shape, generator=generator(14), dtype=torch.float64)
    found = SubspaceNetwork.near(STRING_FLOW.gamma, x.float(), groups, 2).requires_grad_(False)
    for k in range(2):
        own = found.basis[k].double()
        assert float((own @ own.T - lines[k] @ lines[k].T).abs().max()) < 0.02
        torch.testing.assert_close(found.log_power[k].exp().double().sort().values,
                                   power[k].sort().values, rtol=0.05, atol=1e-3)
    torch.testing.assert_close(found.log_share.exp(), torch.tensor([0.5, 0.5]), rtol=0, atol=0.02)


def test_the_shipped_model_knows_strings():
    bfn = string_model()
    x, pitch = STRINGS.draw(32, generator(15))
    x = bfn.flow.quantise(x)
    bill = elbo(bfn, x, repeats=2, generator=generator(16)).total.mean
    rice = float(predicted_bits(bfn.flow.index(x))[0].mean()) * math.log(2)
    assert bill < 0.6 * rice
    theta = bfn.flow.sample_flow(x, 0.1, generator(17))
    assert bool((STRINGS.pitch_of(bfn.output(theta, 0.1).mean.detach()) == pitch).all())
    drawn = bfn.sample((24, 1024), 60, sampler=Solver("ab2"), generator=generator(18))
    assert float((STRINGS.clearness(drawn) > 0.6).float().mean()) > 0.8


def test_a_kept_sound_is_the_wave_that_was_kept():
    flow = string_model().flow
    wave = flow.quantise(STRINGS.draw(1, generator(4))[0])[0]
    text = base64.b64encode(flow.index(wave).to(torch.uint8).numpy().tobytes()).decode()
    torch.testing.assert_close(kept_sound(text), wave)
