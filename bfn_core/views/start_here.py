"""The whole idea at once: Alice's messages about one number, Bob's belief, and the bill.

Equation numbers are those of Graves et al., arXiv 2308.07037.
"""

import functools
import math

import numpy
import torch
from matplotlib.collections import LineCollection

from bfn_core.one_number import exchange

from .gaussian_mixture import DATA, normal
from .kit.explorer import button, choice, explore, slider
from .kit.style import COLOURS

REACH = 1.9  # of the axis of values
DASHED = {"lw": 1, "ls": (0, (5, 4))}


def start_explorer(data=DATA, *, x=0.25, steps=16, sigma_1=0.05, seed=0):
    """The whole idea at once: Alice's messages, Bob's belief, and the bill.

    Alice tells Bob a number x in `steps` noisy messages, each more accurate than the last. Drag how
    many have been sent. Left, the messages and Bob's belief; in the middle, the belief as a
    density, with Bob's guess; right, what the messages have cost him in bits.

    Args:
      data: what Bob's network knows about x, a `GaussianMixture`.
      x, steps, sigma_1: the true number, how many messages, and the noise that is left at the end.
      seed: of the noise in the messages.

    Returns:
        An `Explorer`.
    """
    controls = {
        "sent": slider("messages sent", 0, steps, min(8, steps), width=175),
        "x": slider("Alice's number x", -1.0, 1.0, x, 0.05, width=165),
        "knows": choice("Bob guesses with", [("his belief alone", False),
                                             ("a network too", True)], True),
        "talk": button("New messages"),
    }
    picture = functools.partial(_story, data=data, steps=steps, sigma_1=sigma_1, seed=seed)
    return explore(
        picture, controls, size=(9, 3.5), grid=(1, 3), width_ratios=(1.7, 1, 1.05), play="sent",
        description="Alice tells Bob a number in noisy messages: drag how many have been sent, and "
        "watch his belief sharpen and the bill grow.", filmed=["sent", "knows"], seconds=6,
    )


def _story(axes, data, steps, sigma_1, seed):
    """The three panels, of one conversation."""
    panels = _messages(axes[0], steps), _belief(axes[1], data), _bill(axes[2], steps)

    @functools.lru_cache(maxsize=16)
    def conversation(x, talk):
        noise = numpy.random.default_rng(seed + talk).normal(size=steps)
        return exchange(x, sigma_1, torch.from_numpy(noise), data)

    def show(sent, x, knows, talk):
        c = conversation(x, talk)
        for show_panel in panels:
            show_panel(c, sent, int(knows))
        return (
            f"After <b>{sent} of {steps}</b> messages Bob believes x is {c.mu[sent]:.2f}, give or "
            f"take {c.rho[sent] ** -0.5:.2f}, and guesses {c.guesses[int(knows), sent]:.2f}. The "
            f"messages have cost <b>{c.bits[int(knows), sent]:.1f} bits</b>: each costs more, the "
            "further Bob's guess was from the truth."
        )

    return show


def _messages(axes, steps):
    """The messages, each with its noise, and the belief after each."""
    axes.set(title="What Alice sends, what Bob believes", xlabel="message number", ylabel="value",
             xlim=(-0.4, steps + 0.5), ylim=(-REACH, REACH))
    band = axes.fill_between([0], [0], [0], color=COLOURS.input, alpha=0.2, lw=0,
                             label="Bob's belief")
    (mean,) = axes.plot([], [], color=COLOURS.input)
    noise = LineCollection([], colors=COLOURS.sender, linewidths=1.2, alpha=0.45)
    axes.add_collection(noise)
    dots, above, below = (axes.plot([], [], marker, color=COLOURS.sender, ms=5.5)[0]
                          for marker in "o^v")  # some lie beyond the axes
    dots.set_label("Alice's message")
    truth = axes.axhline(0, color=COLOURS.data, label="the true x", **DASHED)
    axes.legend(loc="lower right")

    def show(c, sent, knows):
        number, mu = numpy.arange(sent + 1), c.mu[: sent + 1].numpy()
        spread = c.rho[: sent + 1].numpy() ** -0.5
        band.set_data(number, mu - spread, mu + spread)
        mean.set_data(number, mu)
        place, y, wide = number[1:], c.y[:sent].numpy(), c.alpha[:sent].numpy() ** -0.5
        noise.set_segments([[(i, a), (i, b)] for i, a, b in zip(place, y - wide, y + wide,
                                                               strict=True)])
        edge = 0.96 * REACH * numpy.ones(sent)
        for markers, height, where in ((dots, y, abs(y) < REACH), (above, edge, y >= REACH),
                                       (below, -edge, y <= -REACH)):
            markers.set_data(place[where], height[where])
        truth.set_ydata([c.x, c.x])

    return show


def _belief(axes, data):
    """The belief as a density, Bob's guess, and which numbers are likely."""
    v = torch.linspace(-REACH, REACH, 700, dtype=torch.float64)
    axes.set(title="Bob's belief now", xticks=[], xlabel="density, same peak", xlim=(0, 1.12),
             ylim=(-REACH, REACH))
    axes.tick_params(labelleft=False)
    likely = data.density(v)
    axes.plot(likely / likely.max(), v, color=COLOURS.data, alpha=0.3, lw=1.2,
              label="likely numbers")
    density = axes.fill_betweenx(v, v * 0, color=COLOURS.input, alpha=0.2, lw=0)
    (outline,) = axes.plot([], [], color=COLOURS.input)
    (guess,) = axes.plot([], [], color=COLOURS.output, lw=2.5, label="Bob's guess")
    truth = axes.axhline(0, color=COLOURS.data, **DASHED)
    axes.legend(loc="lower right")

    def show(c, sent, knows):
        height = normal(v, c.mu[sent], c.rho[sent] ** -0.5).numpy()
        density.set_data(v.numpy(), 0 * height, height / height.max())
        outline.set_data(height / height.max(), v)
        guess.set_data([0, 1.12], c.guesses[knows, [sent, sent]])
        truth.set_ydata([c.x, c.x])

    return show


def _bill(axes, steps):
    """What has been paid so far, of all that will be, with a network and without."""
    axes.set(title="The bill so far", xlabel="message number", ylabel="bits", ylim=(0, 5),
             xlim=(0, steps + 0.5))
    whole, paid = [], []
    for colour, label in ((COLOURS.input, "belief alone"), (COLOURS.output, "with a network")):
        whole += axes.plot([], [], color=colour, alpha=0.4, lw=1, ls=(0, (4, 2)))
        paid += axes.plot([], [], color=colour, label=label)
    area = axes.fill_between([0], [0], color=COLOURS.data, alpha=0.12, lw=0)
    (end,) = axes.plot([], [], "o", color=COLOURS.text)
    axes.legend(loc="upper left")

    def show(c, sent, knows):
        number, bits = numpy.arange(steps + 1), c.bits.numpy()
        so_far = slice(sent + 1)
        for line, part, each in zip(whole, paid, bits, strict=True):
            line.set_data(number, each)
            part.set_data(number[so_far], each[so_far])
        area.set_data(number[so_far], 0 * number[so_far], bits[knows, so_far])
        end.set_data([sent], bits[knows, [sent]])
        # The axis doubles, so that it rarely changes while one drags.
        axes.set_ylim(0, 5 * 2 ** max(0, math.ceil(math.log2(1.25 * bits[:, -1].max() / 5))))

    return show
