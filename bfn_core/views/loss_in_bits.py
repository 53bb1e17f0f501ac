"""Pictures of code lengths: letter by letter or in messages, one message, n messages, a network.

The running example is a table of joint probabilities of two variables of K classes, as a (K, K)
tensor of counts or probabilities. The pictures count in bits; bfn_core counts in nats.
Equation numbers are those of Graves et al., arXiv 2308.07037.
"""

import functools
import math

import torch
from torch import Generator, Tensor

from bfn_core.distributions import Delta, DiscretisedNormal
from bfn_core.flows import ContinuousFlow, DiscretisedFlow
from bfn_core.meter import (
    BETAS,
    NATS,
    TIMES,
    Meter,
    finite_bills,
    integral,
    message_bits,
    perfect_network,
    probabilities,
    smooth,
    without_correlation,
)
from bfn_core.tempered import Tempered

from .kit import style
from .kit.explorer import Explorer, button, choice, count_slider, log_slider, slider
from .kit.style import COLOURS

GAIN, LOSS = COLOURS.sender, "#9AA5AE"  # where an integrand is above and below zero
EXTRA = COLOURS.other


# 1. Letter by letter, or everything at once


class _Bill:
    """Left, the two conditional surprises on top of each other; right, messages over time."""

    def __init__(self, left, right, names, highest, words=("first", "second")):
        self.names, self.words = names, words
        self.bars = [left.bar(0, 1, width=0.72, color=c)[0] for c in (COLOURS.data, LOSS)]
        self.tops = [axes.axhline(0, color=COLOURS.data, lw=1.2, ls=(0, (5, 3)))
                     for axes in (left, right)]
        self.labels = [left.text(0, 0, "", ha="center", va="center", color="white", fontsize=9)
                       for _ in self.bars]
        self.paths = [right.plot([], [], color=COLOURS.sender, lw=0.9, alpha=0.35)[0]
                      for _ in range(8)]
        (self.mean,) = right.plot([], [], color=COLOURS.sender, lw=2.6)
        self.above = right.text(0.02, 0, "", va="bottom", fontsize=9)
        left.set(xticks=[], xlim=(-0.6, 0.6), ylim=(0, highest), ylabel="bits paid so far")
        right.set(xlim=(0, 1), ylim=(0, highest), xlabel="time t")
        right.tick_params(labelleft=False)
        left.grid(axis="x", visible=False)

    @property
    def artists(self):
        return [*self.bars, *self.tops, *self.labels, *self.paths, self.mean, self.above]

    def show(self, first, second, mean, paths):
        total = first + second
        for bar, text, word, low, size in zip(
            self.bars, self.labels, self.words, (0, first), (first, second), strict=True
        ):
            bar.set(y=low, height=size)
            text.set(y=low + size / 2, text=f"{word} {size:.2f}".strip() if size > 0.3 else "")
        for line in self.tops:
            line.set_ydata([total, total])
        self.above.set(y=total + 0.05, text=f"{total:.2f} bits, one after the other")
        for line, path in zip((self.mean, *self.paths), (mean, *paths), strict=True):
            line.set_data(*_staircase(path))


def _staircase(costs):
    """Sums of n messages over [0, 1] as straight pieces, then the final cost upright at t = 1."""
    sums = [0.0, *costs.cumsum(0).tolist()]
    n = len(sums) - 2
    return [*(i / n for i in range(n + 1)), 1.0], sums


class _Surprises:
    """What the points of a table cost letter by letter, and in n messages, in bits."""

    def __init__(self, bfn, names):
        self.bfn, size = bfn, bfn.flow.classes
        self.weights = bfn.log_weights.exp()
        joint = self.weights.reshape(size, size)
        self.first = -joint.sum(1).log2().repeat_interleave(size)
        self.second = -self.weights.log2() - self.first
        self.possible = [j for j in range(size * size) if self.weights[j] > 0]
        self.titles = [f"{names[j // size]}, {names[j % size]}" for j in range(size * size)]
        self.meter = Meter(bfn, seed=4)
        self.final = self.meter.final(bfn).unsqueeze(0)
        self._steps = functools.cache(lambda n: self.meter.steps(bfn, n, knots=9))

    def _of(self, pair, values):
        """One point's entry, or the mean over the table where pair is None: (…, N) -> (…)."""
        if pair is not None:
            return values[..., pair]
        return values[..., self.possible] @ self.weights[self.possible]

    def surprise(self, pair):
        return tuple(float(self._of(pair, part)) for part in (self.first, self.second))

    def mean(self, pair, n):
        """Average price of each message and of the end, (n + 1,)."""
        return self._of(pair, torch.cat([self._steps(n), self.final]))

    def paths(self, pair, n, count, seed):
        """Single conversations, (count, n + 1)."""
        generator = Generator().manual_seed(seed)
        if pair is None:
            points = torch.multinomial(self.weights, count, True, generator=generator)
        else:
            points = torch.full((count,), pair)
        return message_bits(self.bfn, self.bfn.data[points], n, draws=12, generator=generator)


def bill_explorer(table, names, *, words=("first", "second"), n=20, beta_1=9.0, seed=0):
    """The same two letters paid for one after the other, or in n messages about both.

    Left, the surprise of the first letter and of the second given the first, in bits. Right, what
    the perfect network pays for n messages about both, against time: on average (thick) and in
    eight single conversations (thin). Choose the two letters, or the average over the table.

    Args:
      table: (K, K), joint probabilities or counts.
      names: of the K classes.
      words: names of the two variables.
      n: where the slider starts, messages in 1…50.
      beta_1: accuracy of all messages together.
      seed: of the thin conversations; a button draws others.

    Returns:
        An `Explorer`.
    """
    costs = _Surprises(perfect_network(table, beta_1), names)
    figure, axes = style.subplots(1, 2, size=(9.2, 3.6), width_ratios=(1, 3.2))
    highest = 1.3 * max(sum(costs.surprise(j)) for j in costs.possible)
    bill = _Bill(*axes, names, highest, words)
    axes[0].set_title("One after the other")
    axes[1].set_title("Messages about both at once")

    def update(pair, n, again):
        pair = None if pair < 0 else pair  # a list cannot hold None: it means that none is chosen
        first, second = costs.surprise(pair)
        mean = costs.mean(pair, n)
        bill.show(first, second, mean, costs.paths(pair, n, 8, seed + again))
        extra = float(mean.sum()) - first - second
        who = "On average over the table" if pair is None else f"“{costs.titles[pair]}”"
        odds = "" if pair is None else f" has probability {float(costs.weights[pair]):.3f} and"
        plural = "s" if n > 1 else ""
        return (
            f"{who}{odds} costs <b>{first:.2f} + {second:.2f} = {first + second:.2f} bits</b> "
            f"one after the other, and <b>{float(mean.sum()):.2f} bits</b> on average in {n} "
            f"message{plural}: {abs(extra):.2f} bits {'more' if extra > -0.005 else 'less'}."
        )

    options = [("average over the table", -1)]
    options += [(f"{costs.titles[j]}", j) for j in costs.possible]
    controls = {
        "pair": choice(f"{words[0]}, {words[1]}", options, width=300),
        "n": slider("messages n", 1, 50, n),
        "again": button("Other messages"),
    }
    return Explorer(
        figure, update, controls, moving=bill.artists, filmed=["n", "pair"],
        description="Bits paid for two variables: one after the other as two stacked bars, and in "
        "n messages about both as curves that climb to the same height.",
    )


def bill_figure(table, names, pairs, *, words=("first", "second"), n=50, beta_1=9.0):
    """The bill of a few points of the table, and of the average (None), side by side.

    Points of probability 0 are left out: nobody pays for what never happens.
    """
    costs = _Surprises(perfect_network(table, beta_1), names)
    pairs = [pair for pair in pairs if pair is None or pair in costs.possible]
    figure, axes = style.subplots(
        1, 2 * len(pairs), size=(9.2, 3.4), width_ratios=(1, 2) * len(pairs)
    )
    highest = 1.25 * max(sum(costs.surprise(pair)) for pair in pairs)
    for k, pair in enumerate(pairs):
        left, right = axes[2 * k], axes[2 * k + 1]
        bill = _Bill(left, right, names, highest, ("", ""))
        bill.show(*costs.surprise(pair), costs.mean(pair, n), costs.paths(pair, n, 8, 0))
        bill.above.set_text("")
        left.set_title("average" if pair is None else costs.titles[pair])
        if k:
            left.set_ylabel("")
        right.set_xticks([0, 0.5, 1])
    parts = [*bill.bars, bill.mean, bill.paths[0]]
    labels = [*words, f"{n} messages, on average", "single conversations"]
    figure.legend(parts, labels, loc="outside lower center", ncols=4)
    return figure


# 2. One message: sender against receiver

BINS = 5
REACH = 6.0  # standard deviations of the sender, left and right of x


def message_case(kind: str, x: float, guess: float, spread: float, count: int = 1):
    """The flow, x and the output distribution of the message explorer.

    kind "continuous" puts all mass on `guess`; "discretised" a normal of mean `guess` and standard
    deviation `spread`, gathered into 5 bins of [−1, 1].

    Returns:
        (flow, x, output), with `count` equal entries, in float64.
    """
    truth, mean = (torch.full((count,), float(v), dtype=torch.float64) for v in (x, guess))
    if kind == "continuous":
        return ContinuousFlow(0.02), truth, Delta(mean)
    output = DiscretisedNormal(mean, torch.full_like(mean, spread), BINS)
    return DiscretisedFlow(BINS, 0.02), truth, output


def message_densities(flow, x, output, alpha, y):
    """p_S, p_R and the integrand of the KL in bits, p_S log2(p_S/p_R), at each y."""
    sender = flow.sender(x, alpha).log_prob(y)
    receiver = flow.receiver(output, alpha).log_prob(y)
    return sender.exp(), receiver.exp(), sender.exp() * (sender - receiver) / NATS


def message_prices(kind, x, guess, spread, alphas, points: int = 241) -> Tensor:
    """KL(p_S ‖ p_R) of one message in bits at each accuracy: the area under the integrand.

    `alphas` is (A,), float64, and so is the answer. A sum over an even grid is exact here to many
    digits, because the integrand is smooth and vanishes at both ends.
    """
    flow, x, output = message_case(kind, x, guess, spread, len(alphas))
    z = torch.linspace(-REACH, REACH, points, dtype=torch.float64).unsqueeze(1)
    y = x + z * alphas.rsqrt()  # (points, A)
    return torch.trapezoid(message_densities(flow, x, output, alphas, y)[2], y, dim=0)


class _Message:
    """Three panels of one message: the guess, the two densities, the integrand of their KL.

    The vertical scales follow the curves, so that the tallest always fills its panel.
    """

    def __init__(self, guess, densities, integrand):
        self.panels = (guess, densities, integrand)
        self.teeth = guess.bar(range(BINS), [1] * BINS, width=0.1, color=COLOURS.output)
        dots = dict(color=COLOURS.data, lw=1.2, ls=(0, (1, 1.5)))
        self.marks = [panel.axvline(0, **dots) for panel in self.panels]
        looks = ((COLOURS.sender, "sender p_S"), (COLOURS.receiver, "receiver p_R"))
        self.lines = [densities.plot([], [], color=c, label=label)[0] for c, label in looks]
        self.fills = [densities.fill([0], [0], color=c, alpha=0.12, lw=0)[0] for c, _ in looks]
        (self.edge,) = integrand.plot([], [], color=COLOURS.text, lw=1)
        self.areas = [integrand.fill([0], [0], color=c, alpha=0.75, lw=0)[0] for c in (GAIN, LOSS)]
        self.text = integrand.text(0.985, 0.94, "", transform=integrand.transAxes, ha="right",
                                   va="top", fontsize=10)
        self.text.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 2})
        integrand.axhline(0, color=COLOURS.data, lw=0.8)
        for panel, low in zip(self.panels, (0, 0, -0.5), strict=True):
            panel.set(xlim=(-2.5, 2.5), ylim=(low, 1.1), yticks=[])
        for panel in self.panels[:2]:
            panel.tick_params(labelbottom=False)

    @property
    def artists(self):
        return [*self.teeth, *self.marks, *self.lines, *self.fills, self.edge, *self.areas,
                self.text]

    def show(self, kind, x, guess, spread, alpha):
        flow, truth, output = message_case(kind, x, guess, spread)
        y = torch.linspace(-2.5, 2.5, 401, dtype=torch.float64)
        sender, receiver, integrand = message_densities(flow, truth, output, alpha, y)
        discretised = kind == "discretised"
        places = output.centres if discretised else output.mean.expand(BINS)
        heights = output.probs[0] if discretised else torch.eye(BINS)[0]
        for bar, place, height in zip(self.teeth, places.tolist(), heights.tolist(), strict=True):
            bar.set(x=place - 0.05, height=height)
        tallest = torch.maximum(sender, receiver).max()
        for line, fill, density in zip(self.lines, self.fills, (sender, receiver), strict=True):
            line.set_data(y, density / tallest)
            fill.set_xy(_closed(y, density / tallest))
        integrand = integrand / max(float(integrand.max()), -2.2 * float(integrand.min()), 0.02)
        self.edge.set_data(y, integrand)
        for patch, part in zip(
            self.areas, (integrand.clamp(min=0), integrand.clamp(max=0)), strict=True
        ):
            patch.set_xy(_closed(y, part))
        for mark in self.marks:
            mark.set_xdata([x, x])
        price = message_prices(kind, x, guess, spread, torch.tensor([alpha], dtype=y.dtype))
        self.text.set_text(f"area = {float(price):.2f} bits")
        return float(price), float(output.log_prob(truth))


def _closed(x, y):
    """The outline of the area between a curve and zero, (points + 2, 2)."""
    ends = torch.stack([x[[-1, 0]], torch.zeros(2, dtype=x.dtype)], 1)
    return torch.cat([torch.stack([x, y], 1), ends]).numpy()


ALPHAS = torch.logspace(0, math.log10(300), 41, dtype=torch.float64)


def message_explorer(*, kind="discretised", x=0.4, guess=0.0, spread=0.4, alpha=8.0):
    """Sender against receiver for one message: the price in bits is an area.

    Left, from the top: the output distribution and the true x; the sender p_S = N(x, 1/α) and the
    receiver p_R, which is the sender averaged over the output distribution (4); the integrand
    p_S log2(p_S/p_R), whose area is the price. Right, the price at every accuracy.

    Args:
      kind: "continuous", where the network names one point, or "discretised", where it spreads
        probability over 5 bins.
      x, guess, spread, alpha: where the sliders start: the true value, the mean and the standard
        deviation of the guess, the accuracy of the message in 1…300.

    Returns:
        An `Explorer`.
    """
    figure, axes = style.subplots(
        3, 2, size=(9.2, 5.4), width_ratios=(2.3, 1), height_ratios=(0.45, 1, 1)
    )
    grid = axes[0, 1].get_gridspec()
    for panel in axes[:, 1]:
        panel.remove()
    right, message = figure.add_subplot(grid[:, 1]), _Message(*axes[:, 0])
    axes[0, 0].set_title("What the network says: p_O, and the true x (dotted)")
    axes[1, 0].set_title("One message y: density of what Alice sends, and of what Bob expects")
    axes[1, 0].legend(loc="upper left", borderaxespad=0)
    axes[2, 0].set(title="p_S log₂(p_S / p_R): the orange area minus the grey one is the price",
                   xlabel="message y")
    (curve,) = right.plot([], [], color=COLOURS.text)
    (dot,) = right.plot([], [], "o", color=GAIN, ms=9)
    cap = right.axhline(0, color=COLOURS.output, lw=1.5, ls=(0, (5, 3)))
    note = right.text(1.1, 0, "", color=COLOURS.output, va="bottom", fontsize=9)
    right.set(xscale="log", yscale="log", xlim=(1, 300), ylim=(0.005, 1000),
              title="Price in bits", xlabel="accuracy α")
    right.set_xticks([1, 10, 100], ["1", "10", "100"])
    right.set_yticks([0.01, 0.1, 1, 10, 100, 1000], ["0.01", "0.1", "1", "10", "100", "1000"])
    right.minorticks_off()

    def update(kind, x, guess, spread, alpha):
        price, log_prob = message.show(kind, x, guess, spread, alpha)
        prices = message_prices(kind, x, guess, spread, ALPHAS)
        curve.set_data(ALPHAS, prices)
        dot.set_data([alpha], [price])
        discretised = kind == "discretised"
        surprise = -log_prob / NATS if discretised else 1.0
        cap.set(ydata=[surprise, surprise], visible=discretised)
        note.set(y=1.1 * surprise, text=f"−log₂ p_O(x) = {surprise:.2f}", visible=discretised)
        if discretised:
            return (
                f"This message costs <b>{price:.2f} bits</b>. However loud, it can never cost more "
                f"than the surprise at x itself, −log₂ p_O(x) = {surprise:.2f} bits: by then "
                "Bob knows which bin x is in."
            )
        return (
            f"Two bells of equal width cost α/2 · (x − x̂)² nats: {alpha:.3g}/2 · "
            f"({x:.2f} − {guess:.2f})² = {alpha / 2 * (x - guess) ** 2:.3g} nats = "
            f"<b>{price:.2f} bits</b>, in proportion to the accuracy and to the squared error."
        )

    kinds = [("continuous: one point x̂", "continuous"), ("discretised: 5 bins", "discretised")]
    controls = {
        "kind": choice("data", kinds, kind),
        "x": slider("true value x", -0.8, 0.8, x, 0.4, digits=1),
        "guess": slider("guess: its mean x̂", -1.0, 1.0, guess, 0.05),
        "spread": slider("guess: its spread (bins)", 0.15, 1.0, spread, 0.05),
        "alpha": log_slider("accuracy α", 1, 300, alpha),
    }
    return Explorer(
        figure, update, controls, moving=[*message.artists, curve, dot, cap, note],
        filmed=["alpha", "guess"],
        description="A sender and a receiver density for one message, and below them the area "
        "that is the price of the message in bits; the price grows with the accuracy.",
    )


def message_figure(alphas=(2.0, 10.0, 60.0), *, x=0.4, guess=0.0, spread=0.4):
    """One message at a few accuracies, side by side, for discretised data."""
    figure, axes = style.subplots(
        3, len(alphas), size=(9.2, 4.8), height_ratios=(0.45, 1, 1), sharex="col"
    )
    for column, alpha in zip(axes.T, alphas, strict=True):
        message = _Message(*column)
        price, _ = message.show("discretised", x, guess, spread, alpha)
        message.text.set_text("")
        column[0].set_title(f"α = {alpha:g}: {price:.2f} bits")
        column[2].set_xlabel("message y")
    axes[1, 0].legend(loc="upper left", borderaxespad=0)
    for panel, label in zip(axes[:, 0], ("p_O", "p_S, p_R", "p_S log₂(p_S/p_R)"), strict=True):
        panel.set_ylabel(label)
    return figure


# 3. n messages


class _Steps:
    """A bar per message, whose area is its price, under the curve of continuous time."""

    def __init__(self, axes, highest):
        self.bars = axes.stairs([1], [0, 1], fill=True, color=COLOURS.sender, alpha=0.55)
        self.rims = axes.stairs([1], [0, 1], color="white", lw=1, baseline=None)
        self.cuts = axes.vlines([0], 0, [1], color="white", lw=1)
        (self.curve,) = axes.plot([], [], color=COLOURS.text)
        axes.set(xlim=(0, 1), ylim=(0, highest), xlabel="time t")

    @property
    def artists(self):
        return [self.bars, self.rims, self.cuts, self.curve]

    def show(self, heights, rate):
        n = len(heights)
        edges = torch.linspace(0, 1, n + 1).numpy()
        self.bars.set_data(heights.numpy(), edges)
        self.rims.set_data(heights.numpy(), edges)
        inner = edges[1:-1].tolist()
        self.cuts.set_segments([[(t, 0), (t, float(h))]
                                for t, h in zip(inner, heights[1:], strict=True)])
        self.cuts.set_linewidth(min(1.0, 30 / n))
        self.rims.set_linewidth(min(1.0, 30 / n))
        self.curve.set_data(*smooth(rate))


class _StepCosts:
    """Heights and sums for every n, of the perfect network and of the one without correlation."""

    def __init__(self, table, beta_1):
        truth = perfect_network(table, beta_1)
        self.networks = {"perfect": truth,
                         "alone": perfect_network(without_correlation(table), beta_1)}
        self.meter = Meter(truth)
        self.joint = truth.entropy() / NATS
        margins = without_correlation(table)
        self.apart = float(-torch.special.xlogy(margins, margins).sum()) / NATS
        self.rates = {name: self._mean(self.meter.rate(bfn, TIMES))
                      for name, bfn in self.networks.items()}
        self.prices = functools.cache(self._prices)

    def _mean(self, values):
        return values.nan_to_num() @ self.meter.weights

    def _prices(self, name, n):
        """Bits for each of n messages, (n,)."""
        return self._mean(self.meter.steps(self.networks[name], n))


def steps_explorer(table, *, n=6, beta_1=9.0):
    """L^n as one bar per message, falling to L^∞ as n grows from 1 to 200.

    Left, n bars of width 1/n whose areas are the prices of the n messages (24), and the curve of
    continuous time, whose area is L^∞ (205). Right, the sums against n, between the entropy of the
    table and the sum of the entropies of its two variables.

    Args:
      table: (K, K), joint probabilities or counts.
      n: where the slider starts.
      beta_1: accuracy of all messages together.

    Returns:
        An `Explorer`.
    """
    costs = _StepCosts(table, beta_1)
    figure, axes = style.subplots(1, 2, size=(9.2, 3.7), width_ratios=(2, 1))
    tallest = [m * costs.prices(name, m) for name in costs.networks for m in (1, 2, 3, 20)]
    tallest += list(costs.rates.values())
    steps = _Steps(axes[0], 1.15 * max(float(heights.max()) for heights in tallest))
    axes[0].set(title="Price per unit of time: the area of a bar is the price of a message",
                ylabel="bits per unit of time")
    (dots,) = axes[1].plot([], [], "o", color=COLOURS.sender, ms=5, alpha=0.55)
    (here,) = axes[1].plot([], [], "o", color=COLOURS.sender, ms=10)
    low, high = costs.joint, costs.apart
    room = max(high - low, 0.1)
    for level, word, va in ((low, "entropy of both together", "top"),
                            (high, "sum of the two entropies", "bottom")):
        axes[1].axhline(level, color=COLOURS.data, lw=1.2, ls=(0, (5, 3)))
        nudge = 0.03 * room if va == "bottom" else -0.05 * room
        axes[1].text(220, level + nudge, word, va=va, ha="right", fontsize=9)
    axes[1].set(xscale="log", xlim=(0.8, 260), ylim=(low - 0.25 * room, high + 0.2 * room),
                title="Lⁿ in bits", xlabel="messages n")
    axes[1].set_xticks([1, 10, 100], ["1", "10", "100"])
    axes[1].minorticks_off()
    marks = (1, 2, 3, 5, 10, 20, 50, 100, 200)

    sums = {name: [float(costs.prices(name, m).sum()) for m in marks] for name in costs.networks}

    def update(network, n):
        prices = costs.prices(network, n)
        steps.show(n * prices, costs.rates[network])
        dots.set_data(marks, sums[network])
        here.set_data([n], [float(prices.sum())])
        limit = integral(costs.rates[network])
        return (
            f"<b>n = {n}: Lⁿ = {float(prices.sum()):.2f} bits</b>; in continuous time "
            f"L<sup>∞</sup> = {limit:.2f} bits. The entropy of both together is {low:.2f} bits, "
            f"the sum of the two entropies {high:.2f}."
        )

    kinds = [("perfect", "perfect"), ("looks at each alone", "alone")]
    controls = {
        "network": choice("network", kinds),
        "n": count_slider("messages n", 1, 200, n, width=300),
    }
    return Explorer(
        figure, update, controls, moving=[*steps.artists, dots, here],
        description="Bars, one for each of n messages, whose areas are their prices; with more "
        "messages the bars settle on a curve, and their sum falls to the entropy.",
    )


def steps_figure(table, counts=(1, 4, 40), *, beta_1=9.0):
    """The bars of a few n, side by side, each under the curve of continuous time."""
    costs = _StepCosts(table, beta_1)
    prices = [costs.prices("perfect", n) for n in counts]
    rate = costs.rates["perfect"]
    heights = [n * bars.max() for n, bars in zip(counts, prices, strict=True)]
    highest = float(max(rate.max(), *heights))
    figure, axes = style.subplots(1, len(counts), size=(9.2, 2.9), sharey=True)
    for panel, n, bars in zip(axes, counts, prices, strict=True):
        _Steps(panel, 1.15 * highest).show(n * bars, rate)
        panel.set_title(f"n = {n}: {float(bars.sum()):.2f} bits")
    axes[0].set_ylabel("bits per unit of time")
    return figure


# 4. Messages that end too early

FIRST = 20  # of BETAS, from which on they are drawn; those before are for the integral


class _Finite:
    """A bill over β(1) as three bands on top of each other; the lower two fill the entropy."""

    NAMES = ("messages", "last fee, if named together", "excess: named one by one")
    SHADES = ((COLOURS.sender, 0.55), (COLOURS.data, 0.35), (EXTRA, 0.9))

    def __init__(self, axes, highest):
        looks = zip(self.NAMES, self.SHADES, strict=True)
        self.bands = [axes.fill_between([0.1], [0], [0], color=c, alpha=alpha, lw=0, label=name)
                      for name, (c, alpha) in looks]
        dashes = dict(color=COLOURS.data, lw=1.2, ls=(0, (5, 3)))
        self.entropy = axes.axhline(0, label="entropy of both together", **dashes)
        axes.set(xscale="log", xlim=(0.1, 10), ylim=(0, highest), xlabel="accuracy in all, β(1)")
        axes.set_xticks([0.1, 1, 10], ["0.1", "1", "10"])
        axes.minorticks_off()

    @property
    def artists(self):
        return [*self.bands, self.entropy]

    def show(self, parts, entropy):
        low = 0 * parts[0]
        for band, part in zip(self.bands, parts, strict=True):
            band.set_data(BETAS[FIRST:], low[FIRST:], (low + part)[FIRST:])
            low = low + part
        self.entropy.set_ydata([entropy, entropy])


def _tables(table):
    """The reader's table, and two extremes of the same size."""
    joint = probabilities(table)
    return {"yours": joint, "copy": torch.eye(len(joint), dtype=joint.dtype) / len(joint),
            "alone": without_correlation(joint)}


def excess_explorer(table, *, beta_1=1.0):
    """What the perfect network pays beyond the entropy where the messages end early.

    Left, its bill in continuous time against β(1): messages, the last fee as far as it is due, and
    the excess (see `finite_bills`). Right, the same at the chosen β(1).

    Args:
      table: (K, K), joint probabilities or counts.
      beta_1: where the slider starts, 0.1 to 10.

    Returns:
        An `Explorer`.
    """
    tables = _tables(table)
    bills = functools.cache(lambda name: finite_bills(tables[name]))
    entropy = {name: perfect_network(joint).entropy() / NATS for name, joint in tables.items()}
    figure, axes = style.subplots(1, 2, size=(9.2, 3.6), width_ratios=(3, 1), sharey=True)
    highest = 1.3 * max(float(sum(bills(name))[FIRST:].max()) for name in tables)
    bands = _Finite(axes[0], highest)
    line = axes[0].axvline(beta_1, ymax=0.8, color=COLOURS.text, lw=1.2)  # up to the legend
    bars = [axes[1].bar(0, 1, width=0.7, color=colour, alpha=alpha)[0]
            for colour, alpha in _Finite.SHADES]
    total = axes[1].text(0, 0, "", ha="center", va="bottom")
    axes[0].set(title="The bill, by how much accuracy is sent", ylabel="bits")
    axes[0].legend(loc="upper right", ncols=2, fontsize=8.5)
    axes[1].set(title="At this β(1)", xlim=(-0.6, 0.6), xticks=[])

    def update(kind, beta_1):
        parts = bills(kind)
        bands.show(parts, entropy[kind])
        line.set_xdata([beta_1, beta_1])
        here = int((BETAS - beta_1).abs().argmin())
        messages, together, excess = sizes = [max(float(part[here]), 0.0) for part in parts]
        for k, (bar, size) in enumerate(zip(bars, sizes, strict=True)):
            bar.set(y=sum(sizes[:k]), height=size)
        total.set(y=sum(sizes) + 0.03 * highest, text=f"{sum(sizes):.2f} bits")
        return (
            f"<b>β(1) = {beta_1:.2f}</b>: {messages:.2f} bits in messages and "
            f"{together + excess:.2f} for the last fee are <b>{sum(sizes):.2f} bits</b>, where the "
            f"entropy is {entropy[kind]:.2f}. Naming the two one by one takes {excess:.2f} bits "
            "more than naming them together: that is the excess."
        )

    kinds = [("yours", "yours"), ("second copies first", "copy"), ("independent", "alone")]
    controls = {
        "kind": choice("table", kinds),
        "beta_1": log_slider("accuracy in all, β(1)", 0.1, 10, beta_1, steps=40, width=260),
    }
    return Explorer(
        figure, update, controls, moving=[*bands.artists, line, *bars, total],
        description="The perfect network's bill against the accuracy of all messages: at little "
        "accuracy it lies above the entropy, with more it comes down to it.",
    )


def excess_figure(table):
    """The bill against β(1), for the reader's table and where the second variable copies."""
    tables = _tables(table)
    figure, axes = style.subplots(1, 2, size=(9.2, 3.2), sharey=True)
    bills = {name: finite_bills(tables[name]) for name in ("yours", "copy")}
    highest = 1.05 * max(float(sum(parts)[FIRST:].max()) for parts in bills.values())
    for panel, (name, parts), title in zip(
        axes, bills.items(), ("Your table", "The second is a copy of the first"), strict=True
    ):
        _Finite(panel, highest).show(parts, perfect_network(tables[name]).entropy() / NATS)
        panel.set_title(title)
    axes[0].set_ylabel("bits")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


# 5. Imperfect networks


def imperfect_explorer(
    table, names, *, words=("first", "second"), share=0.0, temperature=1.0, beta_1=9.0
):
    """A network that is wrong pays for it: extra bits as an area and as a bar.

    Left, bits per unit of time for the perfect network and for the wrong one, the area between
    them filled. In the middle, the table that the wrong network believes in; right, its bill as the
    entropy and the extra.

    Args:
      table: (K, K), the true joint probabilities or counts.
      names: of the K classes.
      words: names of the two variables.
      share: how much of the correlation the network knows, from 0, where its two variables are
        independent, to 1, the true table.
      temperature: its output probabilities are raised to the power 1/temperature; 1 is right.
      beta_1: accuracy of all messages together.

    Returns:
        An `Explorer`.
    """
    truth = perfect_network(table, beta_1)
    joint, apart = probabilities(table), without_correlation(table)
    entropy = truth.entropy() / NATS
    meter = Meter(truth)

    def measure(bfn):
        return meter.rate(bfn, TIMES) @ meter.weights, float(meter.final(bfn) @ meter.weights)

    best, best_final = measure(truth)
    cached = functools.cache(
        lambda share, temperature: measure(
            Tempered(perfect_network(share * joint + (1 - share) * apart, beta_1), temperature)
        )
    )

    figure, axes = style.subplots(1, 3, size=(9.2, 3.7), width_ratios=(2.2, 1.05, 0.75))
    t, best_curve = smooth(best)
    axes[0].plot(t, best_curve, color=COLOURS.text, lw=1.2, zorder=3, label="perfect network")
    (line,) = axes[0].plot([], [], color=EXTRA, label="this network")
    (gap,) = axes[0].fill([0], [0], color=EXTRA, alpha=0.35, lw=0)
    axes[0].set(title="Price per unit of time", ylabel="bits per unit of time", xlabel="time t",
                xlim=(0, 1), ylim=(0, 1.7 * float(best.max())))
    axes[0].legend(loc="upper right")
    image = axes[1].imshow(joint.numpy(), cmap="Greys", vmin=0, vmax=1.6 * float(joint.max()))
    dark, size = 0.8 * float(joint.max()), range(len(names))
    cells = [[axes[1].text(k, j, "", ha="center", va="center", fontsize=9) for k in size]
             for j in size]
    axes[1].set(title="The table it believes", xticks=size, yticks=size,
                xlabel=words[1], ylabel=words[0])
    axes[1].set_xticklabels(names)
    axes[1].set_yticklabels(names, rotation=90, va="center")
    axes[1].grid(False)
    axes[2].bar(0, entropy, color=COLOURS.data, width=0.7)
    axes[2].text(0, entropy / 2, f"entropy\n{entropy:.2f}", color="white", ha="center", va="center")
    extra_bar = axes[2].bar(0, 0.1, bottom=entropy, color=EXTRA, width=0.7)[0]
    label = axes[2].text(0, entropy, "", ha="center", va="bottom")
    axes[2].set(title="The bill", xticks=[], xlim=(-0.6, 0.6), ylim=(0, 1.75 * entropy))
    axes[2].set_ylabel("bits")

    def update(share, temperature):
        believed = share * joint + (1 - share) * apart
        rate, final = cached(share, temperature)
        during, end = integral(rate - best), final - best_final
        extra = during + end
        curve = smooth(rate)[1]
        line.set_data(t, curve)
        outline = [torch.stack([t, curve], 1), torch.stack([t, best_curve], 1).flip(0)]
        outline = torch.cat(outline)
        gap.set_xy(outline.numpy())
        image.set_data(believed.numpy())
        for row, numbers in zip(cells, believed.tolist(), strict=True):
            for text, number in zip(row, numbers, strict=True):
                text.set(text=f"{number:.2f}", color="white" if number > dark else COLOURS.text)
        extra_bar.set_height(min(max(extra, 0), 0.7 * entropy))
        label.set(y=entropy + min(max(extra, 0), 0.62 * entropy) + 0.03, text=f"+ {extra:.2f}")
        known = torch.special.xlogy(joint, joint / believed.where(joint > 0, joint + 1)).sum()
        why = (
            f"The divergence KL(table ‖ belief), by the formula, is {float(known) / NATS:.2f} bits."
            if abs(temperature - 1) < 0.005  # a log slider is a rounding away from 1
            else f"{'Too sure of itself' if temperature < 1 else 'Too timid'}: temperature "
            f"{temperature:.2f}."
        )
        return (
            f"It pays <b>{max(extra, 0):.2f} bits more</b> than the entropy of {entropy:.2f}: "
            f"{max(during, 0):.2f} in messages (the filled area) and {max(end, 0):.2f} at the end. "
            f"{why}"
        )

    controls = {
        "share": slider("share of the correlation it knows", 0.0, 1.0, share, 0.05, width=260),
        "temperature": log_slider("temperature of its guesses", 1 / 3, 3, temperature, steps=40),
    }
    moving = [line, gap, image, extra_bar, label, *(text for row in cells for text in row)]
    return Explorer(
        figure, update, controls, moving=moving,
        description="The price over time of a perfect and of a wrong network; the area between "
        "the two curves is what the wrong one pays beyond the entropy.",
    )
