"""Pictures of code lengths: letter by letter or in messages, one message, n messages, a network.

The running example is a table of joint probabilities of two variables of K classes, as a (K, K)
tensor of counts or probabilities. The pictures count in bits; bfn_core counts in nats.
Equation numbers are those of Graves et al., arXiv 2308.07037.
"""

import functools
import itertools
import math

import torch

from bfn_core.meter import (
    BETAS,
    NATS,
    TIMES,
    Meter,
    StepCosts,
    Surprises,
    finite_bills,
    integral,
    perfect_network,
    probabilities,
    smooth,
    without_correlation,
)
from bfn_core.one_message import BINS, message_case, message_densities, message_prices
from bfn_core.tempered import Tempered

from .kit import style
from .kit.explorer import at_rest, button, choice, count_slider, explore, log_slider, slider
from .kit.style import COLOURS

GAIN, LOSS = COLOURS.sender, "#9AA5AE"  # where an integrand is above and below zero
EXTRA = COLOURS.other


# 1. Letter by letter, or everything at once


def _bill(left, right, highest, words=("first", "second"), *, labels=True):
    """Left, the two conditional surprises on top of each other; right, messages over time."""
    bars = [left.bar(0, 1, width=0.72, color=c)[0] for c in (COLOURS.data, LOSS)]
    tops = [axes.axhline(0, color=COLOURS.data, lw=1.2, ls=(0, (5, 3))) for axes in (left, right)]
    texts = [left.text(0, 0, "", ha="center", va="center", color="white", fontsize=9)
             for _ in bars]
    look = {"color": COLOURS.sender}
    paths = [right.plot([], [], lw=0.9, alpha=0.35, **look)[0] for _ in range(8)]
    (mean,) = right.plot([], [], lw=2.6, **look)
    above = right.text(0.02, 0, "", va="bottom", fontsize=9, visible=labels)
    left.set(xticks=[], xlim=(-0.6, 0.6), ylim=(0, highest), ylabel="bits paid so far")
    right.set(xlim=(0, 1), ylim=(0, highest), xlabel="time t")
    right.tick_params(labelleft=False)
    left.grid(axis="x", visible=False)

    def show(costs, pair, n, seed):
        first, second = costs.surprise(pair)
        average, total = costs.mean(pair, n), first + second
        for bar, text, word, low, size in zip(
            bars, texts, words if labels else ("", ""), (0, first), (first, second), strict=True
        ):
            bar.set(y=low, height=size)
            text.set(y=low + size / 2, text=f"{word} {size:.2f}".strip() if size > 0.3 else "")
        for line in tops:
            line.set_ydata([total, total])
        above.set(y=total + 0.05, text=f"{total:.2f} bits, one after the other")
        for line, path in zip((mean, *paths), (average, *costs.paths(pair, n, 8, seed)),
                              strict=True):
            line.set_data(*_staircase(path))
        return first, second, float(average.sum())

    return show, [*bars, mean, paths[0]]


def _staircase(costs):
    """Sums of n messages over [0, 1] as straight pieces, then the final cost upright at t = 1."""
    sums = [0.0, *costs.cumsum(0).tolist()]
    n = len(sums) - 2
    return [*(i / n for i in range(n + 1)), 1.0], sums


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
    costs = Surprises(perfect_network(table, beta_1))
    titles = [", ".join(pair) for pair in itertools.product(names, repeat=2)]

    def picture(axes):
        show, _ = _bill(*axes, 1.3 * max(sum(costs.surprise(j)) for j in costs.possible), words)
        axes[0].set_title("One after the other")
        axes[1].set_title("Messages about both at once")

        def update(pair, n, again):
            pair = None if pair < 0 else pair  # a list cannot hold None: it means none is chosen
            first, second, mean = show(costs, pair, n, seed + again)
            extra = mean - first - second
            who = "On average over the table" if pair is None else f"“{titles[pair]}”"
            chance = "" if pair is None else f"{float(costs.weights[pair]):.3f}"
            return (
                f"{who}{chance and f' has probability {chance} and'} costs "
                f"<b>{first:.2f} + {second:.2f} = {first + second:.2f} bits</b> one after the "
                f"other, and <b>{mean:.2f} bits</b> on average in {n} message{'s' * (n > 1)}: "
                f"{abs(extra):.2f} bits {'more' if extra > -0.005 else 'less'}."
            )

        return update

    options = [("average over the table", -1)]
    options += [(titles[j], j) for j in costs.possible]
    controls = {
        "pair": choice(f"{words[0]}, {words[1]}", options, width=300),
        "n": slider("messages n", 1, 50, n),
        "again": button("Other messages"),
    }
    return explore(
        picture, controls, size=(9.2, 3.6), grid=(1, 2), width_ratios=(1, 3.2),
        filmed=["n", "pair"],
        description="Bits paid for two variables: one after the other as two stacked bars, and in "
        "n messages about both as curves that climb to the same height.",
    )


def bill_figure(table, names, pairs, *, words=("first", "second"), n=50, beta_1=9.0):
    """The bill of a few points of the table, and of the average (None), side by side.

    Points of probability 0 are left out: nobody pays for what never happens.
    """
    costs = Surprises(perfect_network(table, beta_1))
    titles = [", ".join(pair) for pair in itertools.product(names, repeat=2)]
    pairs = [pair for pair in pairs if pair is None or pair in costs.possible]
    figure, axes = style.subplots(
        1, 2 * len(pairs), size=(9.2, 3.4), width_ratios=(1, 2) * len(pairs)
    )
    highest = 1.25 * max(sum(costs.surprise(pair)) for pair in pairs)
    for k, pair in enumerate(pairs):
        left, right = axes[2 * k], axes[2 * k + 1]
        show, parts = _bill(left, right, highest, labels=False)
        show(costs, pair, n, 0)
        left.set_title("average" if pair is None else titles[pair])
        if k:
            left.set_ylabel("")
        right.set_xticks([0, 0.5, 1])
    labels = [*words, f"{n} messages, on average", "single conversations"]
    figure.legend(parts, labels, loc="outside lower center", ncols=4)
    return figure


# 2. One message: sender against receiver

def _message(panels):
    """Three panels of one message: the guess, the two densities, the integrand of their KL.

    The vertical scales follow the curves, so that the tallest always fills its panel.
    """
    guesses, densities, integrands = panels
    teeth = guesses.bar(range(BINS), [1] * BINS, width=0.1, color=COLOURS.output)
    dots = dict(color=COLOURS.data, lw=1.2, ls=(0, (1, 1.5)))
    marks = [panel.axvline(0, **dots) for panel in panels]
    looks = ((COLOURS.sender, "sender p_S"), (COLOURS.receiver, "receiver p_R"))
    lines = [densities.plot([], [], color=c, label=label)[0] for c, label in looks]
    fills = [densities.fill([0], [0], color=c, alpha=0.12, lw=0)[0] for c, _ in looks]
    (edge,) = integrands.plot([], [], color=COLOURS.text, lw=1)
    areas = [integrands.fill([0], [0], color=c, alpha=0.75, lw=0)[0] for c in (GAIN, LOSS)]
    integrands.axhline(0, color=COLOURS.data, lw=0.8)
    for panel, low in zip(panels, (0, 0, -0.5), strict=True):
        panel.set(xlim=(-2.5, 2.5), ylim=(low, 1.1), yticks=[])
    for panel in panels[:2]:
        panel.tick_params(labelbottom=False)
    integrands.set_xlabel("message y")

    def show(kind, x, guess, spread, alpha):
        flow, truth, output = message_case(kind, x, guess, spread)
        y = torch.linspace(-2.5, 2.5, 401, dtype=torch.float64)
        sender, receiver, integrand = message_densities(flow, truth, output, alpha, y)
        discretised = kind == "discretised"
        places = output.centres if discretised else output.mean.expand(BINS)
        heights = output.probs[0] if discretised else torch.eye(BINS)[0]
        for bar, place, height in zip(teeth, places.tolist(), heights.tolist(), strict=True):
            bar.set(x=place - 0.05, height=height)
        tallest = torch.maximum(sender, receiver).max()
        for line, fill, density in zip(lines, fills, (sender, receiver), strict=True):
            line.set_data(y, density / tallest)
            fill.set_xy(_closed(y, density / tallest))
        integrand = integrand / max(float(integrand.max()), -2.2 * float(integrand.min()), 0.02)
        edge.set_data(y, integrand)
        for area, part in zip(
            areas, (integrand.clamp(min=0), integrand.clamp(max=0)), strict=True
        ):
            area.set_xy(_closed(y, part))
        for mark in marks:
            mark.set_xdata([x, x])
        return float(output.log_prob(truth))

    return show


def _closed(x, y):
    """The outline of the area between a curve and zero, (points + 2, 2)."""
    ends = torch.stack([x[[-1, 0]], torch.zeros(2, dtype=x.dtype)], 1)
    return torch.cat([torch.stack([x, y], 1), ends]).numpy()


ALPHAS = torch.logspace(0, math.log10(300), 41, dtype=torch.float64)


def _prices(axes):
    """The price at every accuracy, and where one message stands on that curve."""
    (curve,) = axes.plot([], [], color=COLOURS.text)
    (dot,) = axes.plot([], [], "o", color=GAIN, ms=9)
    cap = axes.axhline(0, color=COLOURS.output, lw=1.5, ls=(0, (5, 3)))
    note = axes.text(1.1, 0, "", color=COLOURS.output, va="bottom", fontsize=9)
    axes.set(xscale="log", yscale="log", xlim=(1, 300), ylim=(0.005, 1000), title="Price in bits",
             xlabel="accuracy α")
    axes.set_xticks([1, 10, 100], ["1", "10", "100"])
    axes.set_yticks([0.01, 0.1, 1, 10, 100, 1000], ["0.01", "0.1", "1", "10", "100", "1000"])
    axes.minorticks_off()

    def show(prices, alpha, price, surprise):
        """`surprise` is None where the price has no limit."""
        curve.set_data(ALPHAS, prices)
        dot.set_data([alpha], [price])
        limited = surprise is not None
        surprise = surprise if limited else 1.0
        cap.set(ydata=[surprise, surprise], visible=limited)
        note.set(y=1.1 * surprise, text=f"−log₂ p_O(x) = {surprise:.2f}", visible=limited)

    return show


def _message_and_prices(axes):
    """`_message`, and beside it `_prices`."""
    grid = axes[0, 1].get_gridspec()
    for panel in axes[:, 1]:
        panel.remove()
    show_message, integrand = _message(axes[:, 0]), axes[2, 0]
    show_prices = _prices(axes[0, 0].figure.add_subplot(grid[:, 1]))
    area = integrand.text(0.985, 0.94, "", transform=integrand.transAxes, ha="right", va="top",
                          bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 2})
    axes[0, 0].set_title("What the network says: p_O, and the true x (dotted)")
    axes[1, 0].set_title("One message y: density of what Alice sends, and of what Bob expects")
    axes[1, 0].legend(loc="upper left", borderaxespad=0)
    integrand.set_title("p_S log₂(p_S / p_R): the orange area minus the grey one is the price")

    def show(kind, x, guess, spread, alpha):
        log_prob = show_message(kind, x, guess, spread, alpha)
        of = functools.partial(message_prices, kind, x, guess, spread)
        price = float(of(torch.tensor([alpha], dtype=ALPHAS.dtype)))
        surprise = -log_prob / NATS if kind == "discretised" else None
        show_prices(of(ALPHAS), alpha, price, surprise)
        area.set_text(f"area = {price:.2f} bits")
        if surprise is not None:
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

    return show


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
    kinds = [("continuous: one point x̂", "continuous"), ("discretised: 5 bins", "discretised")]
    controls = {
        "kind": choice("data", kinds, kind),
        "x": slider("true value x", -0.8, 0.8, x, 0.4, digits=1),
        "guess": slider("guess: its mean x̂", -1.0, 1.0, guess, 0.05),
        "spread": slider("guess: its spread (bins)", 0.15, 1.0, spread, 0.05),
        "alpha": log_slider("accuracy α", 1, 300, alpha),
    }
    return explore(
        _message_and_prices, controls, size=(9.2, 5.4), grid=(3, 2), width_ratios=(2.3, 1),
        height_ratios=(0.45, 1, 1), filmed=["alpha", "guess"],
        description="A sender and a receiver density for one message, and below them the area "
        "that is the price of the message in bits; the price grows with the accuracy.",
    )


def message_figure(alphas=(2.0, 10.0, 60.0), *, x=0.4, guess=0.0, spread=0.4):
    """One message at a few accuracies, side by side, for discretised data."""
    case = {"kind": "discretised", "x": x, "guess": guess, "spread": spread}
    prices = message_prices(**case, alphas=torch.tensor(alphas, dtype=torch.float64)).tolist()
    states = {f"α = {alpha:g}: {price:.2f} bits": {**case, "alpha": alpha}
              for alpha, price in zip(alphas, prices, strict=True)}
    figure = at_rest(_message, states, size=(9.2, 4.8), rows=3, height_ratios=(0.45, 1, 1),
                     sharex="col")
    axes = figure.axes[:: len(alphas)]
    axes[1].legend(loc="upper left", borderaxespad=0)
    for panel, label in zip(axes, ("p_O", "p_S, p_R", "p_S log₂(p_S/p_R)"), strict=True):
        panel.set_ylabel(label)
    return figure


# 3. n messages


def _steps(axes, highest):
    """A bar per message, whose area is its price, under the curve of continuous time."""
    bars = axes.stairs([1], [0, 1], fill=True, color=COLOURS.sender, alpha=0.55)
    rims = axes.stairs([1], [0, 1], color="white", lw=1, baseline=None)
    cuts = axes.vlines([0], 0, [1], color="white", lw=1)
    (curve,) = axes.plot([], [], color=COLOURS.text)
    axes.set(xlim=(0, 1), ylim=(0, highest), xlabel="time t", ylabel="bits per unit of time")

    def show(prices, rate):
        n = len(prices)
        edges, heights = torch.linspace(0, 1, n + 1).numpy(), (n * prices).numpy()
        bars.set_data(heights, edges)
        rims.set_data(heights, edges)
        cuts.set_segments([[(t, 0), (t, h)]
                           for t, h in zip(edges[1:-1], heights[1:], strict=True)])
        cuts.set_linewidth(min(1.0, 30 / n))
        rims.set_linewidth(min(1.0, 30 / n))
        curve.set_data(*smooth(rate))

    return show


def _sums(axes, costs):
    """L^n against n, between the entropy of the table and the sum of its two entropies."""
    marks = (1, 2, 3, 5, 10, 20, 50, 100, 200)
    sums = {name: [float(costs.prices(name, m).sum()) for m in marks] for name in costs.networks}
    (dots,) = axes.plot([], [], "o", color=COLOURS.sender, ms=5, alpha=0.55)
    (here,) = axes.plot([], [], "o", color=COLOURS.sender, ms=10)
    low, high = costs.joint, costs.apart
    room = max(high - low, 0.1)
    for level, word, va, nudge in ((low, "entropy of both together", "top", -0.05),
                                   (high, "sum of the two entropies", "bottom", 0.03)):
        axes.axhline(level, color=COLOURS.data, lw=1.2, ls=(0, (5, 3)))
        axes.text(220, level + nudge * room, word, va=va, ha="right", fontsize=9)
    axes.set(xscale="log", xlim=(0.8, 260), ylim=(low - 0.25 * room, high + 0.2 * room),
             title="Lⁿ in bits", xlabel="messages n")
    axes.set_xticks([1, 10, 100], ["1", "10", "100"])
    axes.minorticks_off()

    def show(network, n):
        paid = float(costs.prices(network, n).sum())
        dots.set_data(marks, sums[network])
        here.set_data([n], [paid])
        return paid

    return show


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
    costs = StepCosts(table, beta_1)

    def picture(axes):
        tallest = [m * costs.prices(name, m) for name in costs.networks for m in (1, 2, 3, 20)]
        tallest += list(costs.rates.values())
        show = _steps(axes[0], 1.15 * max(float(heights.max()) for heights in tallest))
        axes[0].set(title="Price per unit of time: the area of a bar is the price of a message")
        show_sum = _sums(axes[1], costs)

        def update(network, n):
            prices = costs.prices(network, n)
            show(prices, costs.rates[network])
            paid = show_sum(network, n)
            return (
                f"<b>n = {n}: Lⁿ = {paid:.2f} bits</b>; in continuous time L<sup>∞</sup> = "
                f"{integral(costs.rates[network]):.2f} bits. The entropy of both together is "
                f"{costs.joint:.2f} bits, the sum of the two entropies {costs.apart:.2f}."
            )

        return update

    kinds = [("perfect", "perfect"), ("looks at each alone", "alone")]
    controls = {
        "network": choice("network", kinds),
        "n": count_slider("messages n", 1, 200, n, width=300),
    }
    return explore(
        picture, controls, size=(9.2, 3.7), grid=(1, 2), width_ratios=(2, 1),
        description="Bars, one for each of n messages, whose areas are their prices; with more "
        "messages the bars settle on a curve, and their sum falls to the entropy.",
    )


def steps_figure(table, counts=(1, 4, 40), *, beta_1=9.0):
    """The bars of a few n, side by side, each under the curve of continuous time."""
    costs = StepCosts(table, beta_1)
    rate, all_prices = costs.rates["perfect"], [costs.prices("perfect", n) for n in counts]
    highest = 1.15 * float(max(rate.max(), *(len(prices) * prices.max() for prices in all_prices)))
    states = {f"n = {len(prices)}: {float(prices.sum()):.2f} bits": {"prices": prices, "rate": rate}
              for prices in all_prices}
    return at_rest(functools.partial(_steps, highest=highest), states, size=(9.2, 2.9), sharey=True)


# 4. Messages that end too early

FIRST = 20  # of BETAS, from which on they are drawn; those before are for the integral


PARTS = {  # of a bill, from the lowest to the top; the lower two fill the entropy
    "messages": {"color": COLOURS.sender, "alpha": 0.55},
    "last fee, if named together": {"color": COLOURS.data, "alpha": 0.35},
    "excess: named one by one": {"color": EXTRA, "alpha": 0.9},
}


def _finite(axes, highest):
    """A bill over β(1) as three bands on top of each other."""
    bands = [axes.fill_between([0.1], [0], [0], lw=0, label=name, **look)
             for name, look in PARTS.items()]
    floor = axes.axhline(0, label="entropy of both together", color=COLOURS.data, lw=1.2,
                         ls=(0, (5, 3)))
    axes.set(xscale="log", xlim=(0.1, 10), ylim=(0, highest), xlabel="accuracy in all, β(1)",
             ylabel="bits")
    axes.set_xticks([0.1, 1, 10], ["0.1", "1", "10"])
    axes.minorticks_off()

    def show(parts, entropy):
        low = 0 * parts[0]
        for band, part in zip(bands, parts, strict=True):
            band.set_data(BETAS[FIRST:], low[FIRST:], (low + part)[FIRST:])
            low = low + part
        floor.set_ydata([entropy, entropy])

    return show


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
    highest = 1.3 * max(float(sum(bills(name))[FIRST:].max()) for name in tables)

    def picture(axes):
        show = _finite(axes[0], highest)
        line = axes[0].axvline(beta_1, ymax=0.8, color=COLOURS.text, lw=1.2)  # up to the legend
        bars = [axes[1].bar(0, 1, width=0.7, **look)[0] for look in PARTS.values()]
        total = axes[1].text(0, 0, "", ha="center", va="bottom")
        axes[0].set_title("The bill, by how much accuracy is sent")
        axes[0].legend(loc="upper right", ncols=2, fontsize=8.5)
        axes[1].set(title="At this β(1)", xlim=(-0.6, 0.6), xticks=[])

        def update(kind, beta_1):
            parts = bills(kind)
            show(parts, entropy[kind])
            line.set_xdata([beta_1, beta_1])
            here = int((BETAS - beta_1).abs().argmin())
            messages, together, excess = sizes = [max(float(part[here]), 0.0) for part in parts]
            for k, (bar, size) in enumerate(zip(bars, sizes, strict=True)):
                bar.set(y=sum(sizes[:k]), height=size)
            total.set(y=sum(sizes) + 0.03 * highest, text=f"{sum(sizes):.2f} bits")
            return (
                f"<b>β(1) = {beta_1:.2f}</b>: {messages:.2f} bits in messages and "
                f"{together + excess:.2f} for the last fee are <b>{sum(sizes):.2f} bits</b>, where "
                f"the entropy is {entropy[kind]:.2f}. Naming the two one by one takes "
                f"{excess:.2f} bits more than naming them together: that is the excess."
            )

        return update

    kinds = [("yours", "yours"), ("second copies first", "copy"), ("independent", "alone")]
    controls = {
        "kind": choice("table", kinds),
        "beta_1": log_slider("accuracy in all, β(1)", 0.1, 10, beta_1, steps=40, width=260),
    }
    return explore(
        picture, controls, size=(9.2, 3.6), grid=(1, 2), width_ratios=(3, 1), sharey=True,
        description="The perfect network's bill against the accuracy of all messages: at little "
        "accuracy it lies above the entropy, with more it comes down to it.",
    )


def excess_figure(table):
    """The bill against β(1), for the reader's table and where the second variable copies."""
    tables, titles = _tables(table), ("Your table", "The second is a copy of the first")
    states = {title: {"parts": finite_bills(tables[name]),
                      "entropy": perfect_network(tables[name]).entropy() / NATS}
              for title, name in zip(titles, ("yours", "copy"), strict=True)}
    highest = 1.05 * max(float(sum(s["parts"])[FIRST:].max()) for s in states.values())
    return at_rest(functools.partial(_finite, highest=highest), states, size=(9.2, 3.2), legend=4,
                   sharey=True)


# 5. Imperfect networks


def _price_of_error(axes, t, best):
    """The price over time of a perfect network, of a wrong one, and the area between."""
    axes.plot(t, best, color=COLOURS.text, lw=1.2, zorder=3, label="perfect network")
    (line,) = axes.plot([], [], color=EXTRA, label="this network")
    gap = axes.fill_between([0], [0], color=EXTRA, alpha=0.35, lw=0)
    axes.set(title="Price per unit of time", ylabel="bits per unit of time", xlabel="time t",
             xlim=(0, 1), ylim=(0, 1.7 * float(best.max())))
    axes.legend(loc="upper right")

    def show(curve):
        line.set_data(t, curve)
        gap.set_data(t, best, curve)

    return show


def _belief(axes, joint, names, words):
    """The table that a network believes in, as numbers on grey."""
    highest, size = float(joint.max()), range(len(names))
    image = axes.imshow(joint.numpy(), cmap="Greys", vmin=0, vmax=1.6 * highest)
    cells = [[axes.text(k, j, "", ha="center", va="center", fontsize=9) for k in size]
             for j in size]
    axes.set(title="The table it believes", xlabel=words[1], ylabel=words[0])
    axes.set_xticks(size, names)
    axes.set_yticks(size, names, rotation=90, va="center")
    axes.grid(False)

    def show(believed):
        image.set_data(believed.numpy())
        for row, numbers in zip(cells, believed.tolist(), strict=True):
            for text, number in zip(row, numbers, strict=True):
                dark = number > 0.8 * highest
                text.set(text=f"{number:.2f}", color="white" if dark else COLOURS.text)

    return show


def _extra(axes, entropy):
    """A bill as the entropy, and what is paid beyond it."""
    axes.bar(0, entropy, color=COLOURS.data, width=0.7)
    axes.text(0, entropy / 2, f"entropy\n{entropy:.2f}", color="white", ha="center", va="center")
    bar = axes.bar(0, 0.1, bottom=entropy, color=EXTRA, width=0.7)[0]
    label = axes.text(0, entropy, "", ha="center", va="bottom")
    axes.set(title="The bill", xticks=[], xlim=(-0.6, 0.6), ylim=(0, 1.75 * entropy))
    axes.set_ylabel("bits")

    def show(extra):
        bar.set_height(min(max(extra, 0), 0.7 * entropy))
        label.set(y=entropy + min(max(extra, 0), 0.62 * entropy) + 0.03, text=f"+ {extra:.2f}")

    return show


def _imperfect(axes, table, names, words, beta_1):
    """What a wrong network pays: over time, the table it believes in, and in all."""
    joint, apart = probabilities(table), without_correlation(table)
    meter = Meter(perfect_network(table, beta_1))
    entropy = meter.truth.entropy() / NATS

    @functools.cache
    def measure(share, temperature):
        believed = perfect_network(share * joint + (1 - share) * apart, beta_1)
        bfn = Tempered(believed, temperature)
        return meter.rate(bfn, TIMES) @ meter.weights, float(meter.final(bfn) @ meter.weights)

    best, best_final = measure(1.0, 1.0)
    show_price = _price_of_error(axes[0], *smooth(best))
    show_table, show_extra = _belief(axes[1], joint, names, words), _extra(axes[2], entropy)

    def show(share, temperature):
        believed = share * joint + (1 - share) * apart
        rate, final = measure(share, temperature)
        during, end = integral(rate - best), final - best_final
        show_price(smooth(rate)[1])
        show_table(believed)
        show_extra(during + end)
        known = torch.special.xlogy(joint, joint / believed.where(joint > 0, joint + 1)).sum()
        why = (
            f"The divergence KL(table ‖ belief), by the formula, is {float(known) / NATS:.2f} bits."
            if abs(temperature - 1) < 0.005  # a log slider is a rounding away from 1
            else f"{'Too sure of itself' if temperature < 1 else 'Too timid'}: temperature "
            f"{temperature:.2f}."
        )
        return (
            f"It pays <b>{max(during + end, 0):.2f} bits more</b> than the entropy of "
            f"{entropy:.2f}: {max(during, 0):.2f} in messages (the filled area) and "
            f"{max(end, 0):.2f} at the end. {why}"
        )

    return show


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
    picture = functools.partial(_imperfect, table=table, names=names, words=words, beta_1=beta_1)
    controls = {
        "share": slider("share of the correlation it knows", 0.0, 1.0, share, 0.05, width=260),
        "temperature": log_slider("temperature of its guesses", 1 / 3, 3, temperature, steps=40),
    }
    return explore(
        picture, controls, size=(9.2, 3.7), grid=(1, 3), width_ratios=(2.2, 1.05, 0.75),
        description="The price over time of a perfect and of a wrong network; the area between "
        "the two curves is what the wrong one pays beyond the entropy.",
    )
