"""The whole idea at once: Alice's messages about one number, Bob's belief, and the bill.

Equation numbers are those of Graves et al., arXiv 2308.07037.
"""

import dataclasses
import math

import numpy
import torch
from matplotlib.collections import LineCollection

from bfn_core.distributions import Delta
from bfn_core.flows import ContinuousFlow

from .gaussian_mixture import MEANS, STD, mixture, mixture_density, mixture_output, normal
from .kit import style
from .kit.explorer import Explorer, button, choice, slider
from .kit.style import COLOURS


@dataclasses.dataclass(frozen=True)
class Conversation:
    """What Alice sent and what Bob made of it; belief i is the one after i messages."""

    y: numpy.ndarray  # the messages, (n,)
    alpha: numpy.ndarray  # their accuracies, (n,)
    mu: numpy.ndarray  # mean of Bob's belief, (n + 1,)
    rho: numpy.ndarray  # its precision, (n + 1,)
    guess: numpy.ndarray  # what Bob expects x to be, (n + 1,)

    def bits(self, x):
        """What the messages have cost so far, (n + 1,): the sum of α/2 (x − x̂)² (96), in bits."""
        guess = torch.from_numpy(self.guess[:-1])
        flow, alpha = ContinuousFlow(0.02), torch.from_numpy(self.alpha)  # σ₁ is in α already
        nats = flow.step_cost(torch.full_like(guess, x), Delta(guess), alpha)
        return numpy.concatenate(([0.0], nats.cumsum(0))) / math.log(2)


def converse(x, steps, sigma_1, noise, *, network=True, means=MEANS, weights=None, std=STD):
    """Alice sends n messages about x.

    Bob guesses with the perfect network for the mixture, or without: then with his belief's mean.
    `noise` are standard normal numbers, at least n.
    """
    flow = ContinuousFlow(sigma_1)
    alpha = numpy.array([flow.alpha(i, steps) for i in range(1, steps + 1)])
    y = x + noise[:steps] / numpy.sqrt(alpha)
    beliefs = [flow.prior((1,), dtype=torch.float64)]
    for message, accuracy in zip(torch.from_numpy(y), alpha.tolist(), strict=True):
        beliefs.append(flow.update(beliefs[-1], message.reshape(1), accuracy))
    mu, rho = (torch.cat(part).numpy() for part in zip(*((b.mean, b.precision) for b in beliefs),
                                                       strict=True))
    guess = mu
    if network:
        w, m, _ = mixture_output(mu, rho - 1, means, weights, std)
        guess = (w * m).sum(-1)
    return Conversation(y, alpha, mu, rho, guess)


def start_explorer(means=MEANS, weights=None, std=STD, *, x=0.25, steps=16, sigma_1=0.05, seed=0):
    """The whole idea at once: Alice's messages, Bob's belief, and the bill.

    Alice tells Bob a number x in `steps` noisy messages, each more accurate than the last. Drag how
    many have been sent. Left, the messages and Bob's belief; in the middle, the belief as a
    density, with Bob's guess; right, what the messages have cost him in bits.

    Args:
      means, weights, std: what Bob's network knows about x, a mixture of Gaussians.
      x, steps, sigma_1: the true number, how many messages, and the noise that is left at the end.
      seed: of the noise in the messages.

    Returns:
        An `Explorer`.
    """
    means, weights, std = mixture(means, weights, std)
    reach = 1.9
    v = numpy.linspace(-reach, reach, 700)
    figure, (story, now, bill) = style.subplots(1, 3, size=(9, 3.5), width_ratios=(1.7, 1, 1.05))
    art = _draw_story(story, now, bill, steps, reach, mixture_density(v, means, weights, std), v)

    def update(sent, x, knows, talk):
        noise = numpy.random.default_rng(seed + talk).normal(size=steps)
        kind = {"means": means, "weights": weights, "std": std}
        both = [converse(x, steps, sigma_1, noise, network=k, **kind) for k in (False, True)]
        c, bills = both[knows], [conversation.bits(x) for conversation in both]
        height = normal(v, c.mu[sent], c.rho[sent] ** -0.5)
        _update_story(art, c, bills, knows, x, sent, v, height / height.max(), reach)
        spread = c.rho[sent] ** -0.5
        return (
            f"After <b>{sent} of {steps}</b> messages Bob believes x is {c.mu[sent]:.2f}, give or "
            f"take {spread:.2f}, and guesses {c.guess[sent]:.2f}. The messages have cost "
            f"<b>{bills[knows][sent]:.1f} bits</b>: each costs more, the further Bob's guess was "
            "from the truth."
        )

    return Explorer(
        figure,
        update,
        {
            "sent": slider("messages sent", 0, steps, min(8, steps), width=175),
            "x": slider("Alice's number x", -1.0, 1.0, x, 0.05, width=165),
            "knows": choice("Bob guesses with", [("his belief alone", False),
                                                 ("a network too", True)], True),
            "talk": button("New messages"),
        },
        description="Alice tells Bob a number in noisy messages: drag how many have been sent, and "
        "watch his belief sharpen and the bill grow.",
        play="sent",
        filmed=["sent", "knows"],
        seconds=6,
    )


def _draw_story(story, now, bill, steps, reach, data, v):
    """The still parts of `start_explorer`'s picture; returns the artists that move, by name."""
    art = {}
    story.set(title="What Alice sends, what Bob believes", xlabel="message number", ylabel="value",
              xlim=(-0.4, steps + 0.5), ylim=(-reach, reach))
    art["band"] = story.fill_between([0], [0], [0], color=COLOURS.input, alpha=0.2, lw=0,
                                     label="Bob's belief")
    (art["mean"],) = story.plot([], [], color=COLOURS.input)
    art["noise"] = LineCollection([], colors=COLOURS.sender, linewidths=1.2, alpha=0.45)
    story.add_collection(art["noise"])
    (art["dots"],) = story.plot([], [], "o", color=COLOURS.sender, ms=5.5, label="Alice's message")
    for key, marker in (("above", "^"), ("below", "v")):  # messages beyond the axes
        (art[key],) = story.plot([], [], marker, color=COLOURS.sender, ms=5.5)
    art["truth"] = story.axhline(0, color=COLOURS.data, lw=1, ls=(0, (5, 4)), label="the true x")
    story.legend(loc="lower right")

    now.set(title="Bob's belief now", xticks=[], xlabel="density, same peak", xlim=(0, 1.12),
            ylim=(-reach, reach))
    now.tick_params(labelleft=False)
    now.plot(data / data.max(), v, color=COLOURS.data, alpha=0.3, lw=1.2, label="likely numbers")
    art["density"] = now.fill_betweenx(v, v * 0, color=COLOURS.input, alpha=0.2, lw=0)
    (art["outline"],) = now.plot([], [], color=COLOURS.input)
    (art["guess"],) = now.plot([], [], color=COLOURS.output, lw=2.5, label="Bob's guess")
    art["truth too"] = now.axhline(0, color=COLOURS.data, lw=1, ls=(0, (5, 4)))
    now.legend(loc="lower right")

    bill.set(title="The bill so far", xlabel="message number", ylabel="bits", ylim=(0, 5),
             xlim=(0, steps + 0.5))
    for knows, colour, label in ((False, COLOURS.input, "belief alone"),
                                 (True, COLOURS.output, "with a network")):
        (art["whole", knows],) = bill.plot([], [], color=colour, alpha=0.4, lw=1, ls=(0, (4, 2)))
        (art["bill", knows],) = bill.plot([], [], color=colour, label=label)
    art["sum"] = bill.fill_between([0], [0], color=COLOURS.data, alpha=0.12, lw=0)
    (art["end"],) = bill.plot([], [], "o", color=COLOURS.text)
    bill.legend(loc="upper left")
    return art


def _update_story(art, c, bills, chosen, x, sent, v, density, reach):
    """Move the artists of `_draw_story` to where the conversation stands."""
    number = numpy.arange(sent + 1)
    mu, spread = c.mu[: sent + 1], c.rho[: sent + 1] ** -0.5
    art["band"].set_data(number, mu - spread, mu + spread)
    art["mean"].set_data(number, mu)
    y, wide = c.y[:sent], c.alpha[:sent] ** -0.5
    place, inside = number[1:], numpy.abs(y) < reach
    art["noise"].set_segments([[(i, a), (i, b)] for i, a, b in zip(place, y - wide, y + wide,
                                                                  strict=True)])
    art["dots"].set_data(place[inside], y[inside])
    art["above"].set_data(place[y >= reach], numpy.full((y >= reach).sum(), 0.96 * reach))
    art["below"].set_data(place[y <= -reach], numpy.full((y <= -reach).sum(), -0.96 * reach))
    for key in ("truth", "truth too"):
        art[key].set_ydata([x, x])
    art["density"].set_data(v, 0 * v, density)
    art["outline"].set_data(density, v)
    art["guess"].set_data([0, 1.12], [c.guess[sent]] * 2)
    for knows, bits in enumerate(bills):
        art["whole", knows].set_data(numpy.arange(len(bits)), bits)
        art["bill", knows].set_data(number, bits[: sent + 1])
    bits = bills[chosen][: sent + 1]
    art["sum"].set_data(number, 0 * number, bits)
    art["end"].set_data([sent], bits[-1:])
    highest = max(bill[-1] for bill in bills)
    art["sum"].axes.set_ylim(0, 5 * 2 ** max(0, math.ceil(math.log2(1.25 * highest / 5))))
