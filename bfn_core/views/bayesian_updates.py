"""Pictures of Bayes' rule for Gaussian beliefs: one message, many messages, the schedule.

Every number comes from `bfn_core`. Equation numbers are those of Graves et al., arXiv 2308.07037.
"""

import functools
import math

import torch
from matplotlib.collections import LineCollection
from matplotlib.ticker import MultipleLocator, PercentFormatter
from torch.distributions import Normal

from bfn_core.flows import ContinuousFlow
from bfn_core.one_number import SPLITS, flow_at, split
from bfn_core.schedules import CosineSchedule, GeometricSchedule, LinearSchedule
from bfn_core.step_by_step import heard

from .kit import style
from .kit.explorer import button, choice, explore, log_slider, slider
from .kit.style import COLOURS

FLOW = ContinuousFlow(0.02)  # its prior, sender and update do not depend on sigma_1
EDGE = 3.0  # the values shown run from −EDGE to EDGE
BEFORE = "#7FB2D6"  # the belief before a message: a paler COLOURS.input
WINDOW = 16  # beliefs that the history shows at once


def _number(value):
    """Two or three digits that matter, without a power of ten."""
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def _percent(share):
    """A whole number of per cent, or what is left to say where that would be 0."""
    if share < 0.001:
        return "less than 0.1%"
    return f"{share:.1%}" if share < 0.01 else f"{share:.0%}"


def _std(theta):
    return float(theta.precision) ** -0.5


# One message at a time


def _told(x, alphas, seed):
    """The messages about one number, as floats, and the beliefs, prior first."""
    truth = torch.tensor([x], dtype=torch.float64)
    ys, thetas = heard(FLOW, truth, alphas, generator=torch.Generator().manual_seed(seed))
    return [float(y) for y in ys], thetas


class _Bells:
    """Belief before, message and belief after as three bells; heights relative to the last."""

    def __init__(self, axes):
        self.axes = axes
        look = {"before": (BEFORE, (0, (4, 2))), "y": (COLOURS.sender, "-"),
                "after": (COLOURS.input, "-")}
        self.lines = {n: axes.plot([], [], color=c, ls=s)[0] for n, (c, s) in look.items()}
        self.fills = {n: axes.fill([0], [0], color=c, alpha=0.12, lw=0)[0]
                      for n, (c, _) in look.items()}
        self.truth = axes.axvline(0, ymax=0.6, color=COLOURS.data, lw=1.2, ls=(0, (1, 1.5)))
        (self.mark,) = axes.plot([], [], "v", color=COLOURS.sender, ms=8, clip_on=False)
        self.legend = axes.legend([*self.lines.values(), self.truth], [""] * 4,
                                  loc="upper left", borderaxespad=0)
        axes.set(xlim=(-EDGE, EDGE), ylim=(0, 1.75), yticks=[], xlabel="value of x")
        axes.spines["left"].set_visible(False)

    def show(self, x, before, y, alpha, after):
        bells = {"before": (float(before.mean), _std(before)), "y": (y, alpha**-0.5),
                 "after": (float(after.mean), _std(after))}
        z = torch.linspace(-5, 5, 161, dtype=torch.float64)
        for name, (mean, std) in bells.items():
            height = _std(after) / std * torch.exp(-0.5 * z.square())
            across = torch.cat([torch.tensor([-9.0]), mean + std * z, torch.tensor([9.0])])
            height = torch.cat([torch.zeros(1), height, torch.zeros(1)])
            self.lines[name].set_data(across, height)
            self.fills[name].set_xy(torch.stack([across, height], 1).numpy())
        self.truth.set_xdata([x, x])
        # A message beyond the edge is marked at the edge, by an arrow that points to it.
        self.mark.set_marker("v" if abs(y) <= EDGE else ">" if y > 0 else "<")
        self.mark.set_data([max(-EDGE, min(EDGE, y))], [0.045])
        words = (
            f"before: mean {bells['before'][0]:.2f}, std {bells['before'][1]:.2f}",
            f"message: y = {y:.2f}, α = {_number(alpha)}",
            f"after: mean {bells['after'][0]:.2f}, std {bells['after'][1]:.2f}",
            f"the true x = {x:.2f}",
        )
        for text, word in zip(self.legend.get_texts(), words, strict=True):
            text.set_text(word)


class _History:
    """Bob's mean ± one standard deviation and the messages, the newest to the right."""

    def __init__(self, axes):
        self.truth = axes.axhline(0, color=COLOURS.data, lw=1.2, ls=(0, (1, 1.5)))
        (self.said,) = axes.plot([], [], "o", color=COLOURS.sender, ms=5, label="message y")
        self.spread = axes.add_collection(LineCollection([], colors=COLOURS.input, lw=2.2))
        (self.means,) = axes.plot([], [], "o-", color=COLOURS.input, ms=6, lw=1, label="mean ± std")
        axes.legend(loc="upper right", ncols=2, handlelength=1, columnspacing=1, borderaxespad=0)
        axes.set(title="Bob's belief, message by message", xlabel="messages, oldest to newest",
                 xlim=(-0.7, WINDOW - 0.3), xticks=[], ylim=(-EDGE, EDGE + 0.8))
        axes.set_yticks(range(-3, 4))

    def show(self, x, ys, thetas):
        bars = [(float(theta.mean), _std(theta)) for theta in thetas][-WINDOW:]
        ys = [max(-EDGE, min(EDGE, y)) for y in ys][-WINDOW:]
        self.truth.set_ydata([x, x])
        # A message comes between two beliefs.
        self.said.set_data([len(bars) - len(ys) + i - 0.5 for i in range(len(ys))], ys)
        self.means.set_data(range(len(bars)), [mean for mean, _ in bars])
        self.spread.set_segments([[(i, m - s), (i, m + s)] for i, (m, s) in enumerate(bars)])


class _Say:
    """Who has how much of the say: the parts of Bob's precision, 1 + α + α + …, as a pile."""

    def __init__(self, axes):
        colours = (BEFORE, "#EFB48A", COLOURS.sender)
        self.blocks = [axes.bar(0, 1, width=0.8, color=colour)[0] for colour in colours]
        self.joints = axes.add_collection(LineCollection([], colors="white", lw=1))
        self.texts = [axes.text(0.5, 0, "", va="center", fontsize=9) for _ in colours]
        self.total = axes.text(-0.4, 1.03, "", va="bottom", fontsize=10)
        axes.set(title="Who has the say", xlim=(-0.45, 2.2), ylim=(0, 1.12), xticks=[], yticks=[])
        axes.spines["left"].set_visible(False)

    def show(self, alphas):
        earlier, total = 1 + sum(alphas[:-1]), 1 + sum(alphas)
        edges = ((0, 1), (1, earlier), (earlier, total))
        words = ("prior: 1", f"before: {_number(earlier - 1)}" if len(alphas) > 1 else "",
                 f"now: {_number(alphas[-1])}")
        places = [max((low + high) / 2 / total, 0.03) for low, high in edges]
        if places[0] + 0.07 > places[1] and words[1]:
            places[1] = places[0] + 0.07  # labels never lie on top of each other
        places[2] = min(max(places[2], places[1 if words[1] else 0] + 0.07), 0.94)
        for block, text, (low, high), word, place in zip(
            self.blocks, self.texts, edges, words, places, strict=True
        ):
            block.set(y=low / total, height=(high - low) / total)
            text.set(y=place, text=word)
        self.total.set_text(f"precision ρ = {_number(total)}")
        joints = [(1 + sum(alphas[:i])) / total for i in range(len(alphas))]
        self.joints.set_segments([[(-0.4, joint), (0.4, joint)] for joint in joints])


def message_explorer(*, x=0.4, alpha=4.0, seed=18):
    """Send noisy messages about a number, one by one, and watch the belief sharpen.

    Left, the belief before the latest message, the message as a likelihood, the belief after it
    (49, 50). In the middle, the belief after every message so far; right, its precision as a pile
    of the accuracies that it is the sum of.
    The sliders move the true x, with the noise of every message kept, and the accuracy of the
    latest message; a button sends another one, a second starts again with other noise.

    Args:
      x, alpha: where the sliders start: the true value in [−1, 1], the accuracy in [0.25, 64].
      seed: of the noise.

    Returns:
        An `Explorer`.
    """

    def picture(axes):
        bells, history, say = _Bells(axes[0]), _History(axes[1]), _Say(axes[2])
        axes[0].set_title("One message")
        sent, presses = [], {"send": 0, "again": 0}  # accuracies of the messages before the latest

        def show(x, alpha, send, again):
            if again != presses["again"] or send < presses["send"]:
                sent.clear()
            sent.extend([alpha] * (send - presses["send"]))
            presses.update(send=send, again=again)
            alphas = [*sent, alpha]
            ys, thetas = _told(x, alphas, seed + again)
            before, after = thetas[-2:]
            bells.show(x, before, ys[-1], alpha, after)
            history.show(x, ys, thetas)
            say.show(alphas)
            share, miss = alpha / float(after.precision), abs(x - float(after.mean)) / _std(after)
            return (
                f"<b>Message {len(alphas)}</b> says {ys[-1]:.2f}, with accuracy {_number(alpha)} "
                f"of {_number(float(after.precision))} in all: it gets {_percent(share)} of the "
                f"say. Bob's mean moves from {float(before.mean):.2f} to {float(after.mean):.2f}, "
                f"his standard deviation falls from {_std(before):.3f} to {_std(after):.3f}. "
                f"The true x is {miss:.1f} standard deviations from his mean."
            )

        return show

    controls = {
        "x": slider("true value x", -1.0, 1.0, x, 0.05),
        "alpha": log_slider("accuracy α of this message", 0.25, 64, alpha, steps=64),
        "send": button("Send another message"),
        "again": button("Start again"),
    }
    return explore(
        picture, controls, size=(9.2, 3.7), grid=(1, 3), width_ratios=(2.3, 1.9, 0.9),
        filmed=["alpha", "send"],
        description="Bob's belief before a message, the message as a likelihood, and the narrower "
        "belief after it; to the right the beliefs so far and the precision as a sum.",
    )


def message_figure(alphas=(0.5, 4.0, 32.0), *, x=0.4, seed=18):
    """One message at three accuracies: the belief before, the message and the belief after."""
    figure, panels = style.subplots(1, len(alphas), size=(9.2, 3.3))
    for axes, alpha in zip(panels, alphas, strict=True):
        ys, thetas = _told(x, [alpha], seed)
        bells = _Bells(axes)
        bells.show(x, thetas[0], ys[0], alpha, thetas[1])
        share = alpha / float(thetas[1].precision)
        axes.set_title(f"A message with {share:.0%} of the say")
    return figure


# Many small messages against one large one


def _means(x, alphas, runs, generator):
    """The means of many Bobs with messages of their own, (n + 1, runs), and the last beliefs."""
    truth = torch.full((runs,), float(x), dtype=torch.float64)
    thetas = heard(FLOW, truth, alphas, generator=generator)[1]
    return torch.stack([theta.mean for theta in thetas]), thetas[-1]

def _outline(means, low, high, bins=32):
    """A histogram as a density, and the corners of its outline: (values, density)."""
    counts = torch.histc(means, bins, low, high)
    edges = torch.linspace(low, high, bins + 1).repeat_interleave(2)
    density = (counts / counts.sum() * bins / (high - low)).repeat_interleave(2)
    return edges, torch.cat([torch.zeros(1), density, torch.zeros(1)])


class _Landing:
    """Where Bob's mean lands: two histograms on their side, and the formula's density."""

    def __init__(self, axes, small="many small messages"):
        self.axes = axes
        self.fill = axes.fill([0], [0], color=COLOURS.flow, alpha=0.4, lw=0)[0]
        (self.one,) = axes.plot([], [], color=COLOURS.other, lw=2.6)
        (self.many,) = axes.plot([], [], color=COLOURS.input, lw=1.3)
        self.fill.set_label("flow $p_F$: the formula")
        self.one.set_label("one large message")
        self.many.set_label(small)
        axes.axvline(0, color=COLOURS.faint, lw=0.8)
        axes.set(xticks=[], xlim=(0, 1.2))
        axes.spines["bottom"].set_visible(False)

    def show(self, x, total, many, one):
        mean, std = flow_at(x, total)
        low, high = mean - 4 * std, mean + 4 * std
        values = torch.linspace(low, high, 201)
        density = Normal(mean, std).log_prob(values).exp()
        peak = float(density.max())
        self.fill.set_xy(torch.stack([density / peak, values], 1).numpy())
        for line, means in ((self.one, one), (self.many, many)):
            if means is not None:
                across, height = _outline(means, low, high)
                line.set_data(height / peak, across)


def _many_and_one(axes, runs, seed):
    """Bob's standard deviation, his mean on its way, and where it lands, for many and for one."""
    spend, paths, landing = axes[0], axes[1], _Landing(axes[2])
    (curve,) = spend.plot([], [], color=COLOURS.faint, lw=1.5)
    (large,) = spend.plot([], [], "o", color=COLOURS.other, ms=12)
    (small,) = spend.plot([], [], "o", color=COLOURS.input, ms=4.5)
    spend.set(title="Bob's standard deviation", ylim=(0, 1.08))
    jumps = paths.add_collection(LineCollection([], colors=COLOURS.other, lw=1.4, alpha=0.6))
    walks = paths.add_collection(LineCollection([], colors=COLOURS.input, lw=1.2, alpha=0.8))
    paths.set(title="Bob's mean, eight times", ylim=(-1.6, 1.6))
    axes[2].set(title="… and where it lands", ylim=(-1.6, 1.6), yticklabels=[])
    truths = [a.axhline(0, color=COLOURS.data, lw=1.2, ls=(0, (1, 1.5))) for a in axes[1:]]
    truths[0].set_label("the true x")
    for panel in axes[:2]:
        panel.set(xlabel="share of the accuracy received", xlim=(-0.04, 1.04))
        panel.xaxis.set_major_formatter(PercentFormatter(1))
    handles = [landing.many, landing.one, landing.fill, truths[0]]
    spend.figure.legend(handles=handles, loc="outside lower center", ncols=4)

    def show(total, n, x, kind):
        generator = torch.Generator().manual_seed(seed)
        alphas = split(total, n, kind, generator)
        means, theta = _means(x, alphas, runs, generator)
        single, large_theta = _means(x, [total], runs, generator)
        received = torch.cat([torch.zeros(1), alphas.cumsum(0) / total])
        way = torch.linspace(0, 1, 200)
        curve.set_data(way, (1 + total * way).rsqrt())
        small.set_data(received, (1 + total * received).rsqrt())
        large.set_data([0, 1], [1, float(large_theta.precision[0]) ** -0.5])
        walks.set_segments([torch.stack([received, means[:, i]], 1).numpy() for i in range(8)])
        jumps.set_segments([[(0, 0), (1, float(single[-1, i]))] for i in range(8)])
        for truth in truths:
            truth.set_ydata([x, x])
        landing.show(x, total, means[-1], single[-1])
        mean, std = flow_at(x, total)
        return (
            f"<b>{n} messages, {_number(total)} in all</b>: Bob's standard deviation ends at "
            f"{float(theta.precision[0]) ** -0.5:.4f}. <b>One message of {_number(total)}</b>: "
            f"{float(large_theta.precision[0]) ** -0.5:.4f}. Over {runs} Bobs the means land at "
            f"{means[-1].mean():.2f} ± {means[-1].std():.2f} and {single[-1].mean():.2f} ± "
            f"{single[-1].std():.2f}; the formula says {mean:.2f} ± {std:.2f}."
        )

    return show


def split_explorer(*, total=16.0, n=12, x=0.6, kind="equal", runs=4000, seed=1):
    """Many small messages against one large one of the same total accuracy.

    Left, the standard deviation of the belief while accuracy comes in; in the middle, the means of
    eight Bobs on their way; right, where the means of thousands of Bobs land: after many messages,
    after one, and by the formula for the flow distribution (77).

    Args:
      total, n, x: where the sliders start: total accuracy in [0.5, 128], number of messages in
        [2, 100], true value in [−1, 1].
      kind: how the total is cut, one of `SPLITS`.
      runs: how many Bobs; seed: of the noise.

    Returns:
        An `Explorer`.
    """
    controls = {
        "total": log_slider("accuracy in all", 0.5, 128, total, steps=64),
        "n": slider("number of small messages", 2, 100, n),
        "x": slider("true value x", -1.0, 1.0, x, 0.05),
        "kind": choice("cut into parts that are", SPLITS, kind),
    }
    picture = functools.partial(_many_and_one, runs=runs, seed=seed)
    return explore(
        picture, controls, size=(9.2, 4.0), grid=(1, 3), width_ratios=(1.25, 1.7, 1.15),
        description="Many small messages and one large message of the same total accuracy leave "
        "the same standard deviation and the same distribution of means.",
        filmed=["n", "kind"],
    )


def split_figure(parts=(2, 10, 100), *, total=16.0, x=0.6, runs=4000, seed=1):
    """Where Bob's mean lands after few, some and many messages of the same total accuracy."""
    figure, panels = style.subplots(1, len(parts), size=(9.2, 3.4), sharey=True)
    for axes, n in zip(panels, parts, strict=True):
        generator = torch.Generator().manual_seed(seed)
        many, _ = _means(x, split(total, n), runs, generator)
        one, _ = _means(x, [total], runs, generator)
        landing = _Landing(axes)
        landing.show(x, total, many[-1], one[-1])
        truth = axes.axhline(x, color=COLOURS.data, lw=1.2, ls=(0, (1, 1.5)), label="the true x")
        axes.set(title=f"{n} messages against one", ylim=(-0.3, 1.5))
    panels[0].set_ylabel("Bob's mean")
    handles = [landing.many, landing.one, landing.fill, truth]
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    return figure


# The schedule

RIVALS = {
    "geometric": (COLOURS.input, "-", "geometric: the paper's"),
    "linear": (COLOURS.other, (0, (4, 1.5)), "linear"),
    "cosine": (COLOURS.data, (0, (1.2, 1.2)), "cosine"),
}


def rivals(sigma_1):
    """The three schedules, by name, that all reach σ₁^(−2) − 1 at t = 1: the paper's (72) first."""
    geometric = GeometricSchedule(sigma_1)
    total = geometric.beta(1.0)
    kinds = (geometric, LinearSchedule(total), CosineSchedule(total))
    return dict(zip(RIVALS, kinds, strict=True))


def entropy(beta):
    """Nats in a Gaussian belief of precision 1 + β, the shape of β: ½ ln(2πe/(1 + β))."""
    return Normal(0.0, (1 + beta).rsqrt()).entropy()


NATS = (-6.0, 2.0)  # of entropy: from the smallest σ₁ of the slider to the prior


class _Schedules:
    """Entropy against time, and the share of it that each message takes, for three schedules."""

    def __init__(self, falls, takes):
        self.falls, self.lines, self.steps = falls, {}, {}
        for name, (colour, dashes, label) in RIVALS.items():
            look = {"color": colour, "ls": dashes, "lw": 2.6 if name == "geometric" else 2}
            (self.lines[name],) = falls.plot([], [], label=label, **look)
            (self.steps[name],) = takes.plot([], [], **look)
        falls.set(title="Entropy of the belief", xlabel="time t", ylabel="nats", xlim=(0, 1),
                  ylim=NATS)
        falls.yaxis.set_major_locator(MultipleLocator(2))  # labels of one width: nothing shifts
        takes.set(title="Share that each message takes", xlabel="time t, cut into n messages",
                  xlim=(0, 1), ylim=(0, 1))
        takes.yaxis.set_major_formatter(PercentFormatter(1))

    def show(self, sigma_1, n):
        """Draw; return the nats that each message takes, (n,), by the name of the schedule."""
        t = torch.linspace(0, 1, 401, dtype=torch.float64)
        times = torch.linspace(0, 1, n + 1, dtype=torch.float64)
        schedules = rivals(sigma_1)
        end = float(entropy(schedules["geometric"].beta(times))[-1])
        self.falls.set_ylim(max(NATS[0], math.floor(end - 0.2)), NATS[1])
        taken = {}
        for name, schedule in schedules.items():
            self.lines[name].set_data(t, entropy(schedule.beta(t)))
            taken[name] = -entropy(schedule.beta(times)).diff()
            shares = taken[name] / taken[name].sum()
            self.steps[name].set_data(times.repeat_interleave(2)[1:-1], shares.repeat_interleave(2))
        return taken


def schedule_explorer(*, sigma_1=0.02, n=10):
    """Three accuracy schedules that end at the same β(1): what each does to the belief's entropy.

    Left, the share of the accuracy that has been sent by time t; in the middle, the entropy of the
    belief; right, the share of the fall that each of n messages takes. The paper's schedule (72)
    makes the middle one a straight line, and so all messages worth the same.

    Args:
      sigma_1, n: where the sliders start: in [0.0008, 0.5], and messages in [2, 40].

    Returns:
        An `Explorer`.
    """

    def picture(axes):
        both = _Schedules(*axes[1:])
        bits = axes[1].secondary_yaxis(
            "right", functions=(lambda v: v / math.log(2), lambda v: v * math.log(2))
        )
        bits.set_ylabel("bits", labelpad=1)
        bits.yaxis.set_major_locator(MultipleLocator(2))
        spent = {n: axes[0].plot([], [], color=c, ls=s)[0] for n, (c, s, _) in RIVALS.items()}
        axes[0].set(title="Accuracy sent, β(t)/β(1)", xlabel="time t", xlim=(0, 1), ylim=(0, 1))
        axes[0].yaxis.set_major_formatter(PercentFormatter(1))
        axes[0].figure.legend(handles=[*both.lines.values()], loc="outside lower center", ncols=3)
        t = torch.linspace(0, 1, 201, dtype=torch.float64)

        def show(sigma_1, n):
            taken = both.show(sigma_1, n)
            schedules, nats = rivals(sigma_1), float(taken["geometric"].sum())
            total = schedules["geometric"].beta(1.0)
            for name, line in spent.items():
                line.set_data(t, schedules[name].beta(t) / total)
            first, last = (
                {name: float(part[i] / part.sum()) for name, part in taken.items()} for i in (0, -1)
            )
            return (
                f"<b>β(1) = {total:,.{0 if total > 100 else 1}f}</b>. The belief loses {nats:.2f} "
                f"nats ({nats / math.log(2):.2f} bits) in all. With the geometric schedule every "
                f"one of the {n} messages takes {first['geometric']:.1%} of them. With the linear "
                f"one the first message takes {_percent(first['linear'])}, the last "
                f"{_percent(last['linear'])}; with the cosine one the first takes "
                f"{_percent(first['cosine'])}, the last {_percent(last['cosine'])}."
            )

        return show

    controls = {
        "sigma_1": log_slider("σ₁, where the belief's std ends", 0.0008, 0.5, sigma_1),
        "n": slider("number of messages n", 2, 40, n),
    }
    return explore(
        picture, controls, size=(9.2, 3.7), grid=(1, 3),
        description="Entropy of the belief against time for three accuracy schedules: only the "
        "paper's falls on a straight line, so that all messages are worth the same.",
    )


def schedule_figure(sigmas=(0.5, 0.02), *, n=10):
    """Entropy against time for three schedules, and the share of each message, for two σ₁."""
    figure, axes = style.subplots(1, 2 * len(sigmas), size=(9.2, 3.3))
    for k, sigma_1 in enumerate(sigmas):
        both = _Schedules(*axes[2 * k : 2 * k + 2])
        both.show(sigma_1, n)
        axes[2 * k].set(title=f"σ₁ = {sigma_1:g}: entropy", ylim=(-3, 2))
        axes[2 * k + 1].set(title="share per message", xlabel="time t")
    figure.legend(handles=[*both.lines.values()], loc="outside lower center", ncols=3)
    return figure
