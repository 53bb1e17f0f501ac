"""Pictures of discretised data: a normal cut into bins, a comb of messages, pixels with levels.

Equation numbers are those of Graves et al., arXiv 2308.07037.
"""

import functools
import math

import torch
from torch import Tensor

from bfn_core.distributions import DiscretisedNormal
from bfn_core.flows import ContinuousFlow, DiscretisedFlow
from bfn_core.grid import BIT, GRID, POINTS, SIGMAS, grid_bills, grid_models
from bfn_core.one_message import comb_costs

from .kit import style
from .kit.explorer import Explorer, at_rest, button, explore, log_slider, slider
from .kit.style import COLOURS
from .kit.tiling import grey, tile

TAIL = COLOURS.other  # the mass outside [−1, 1], and models that do not know the grid


# A normal, cut into bins


def _cut(mean: float, std: float, bins: int):
    """Probabilities of the bins (K,), and how much of the first and last lies outside [−1, 1]."""
    loc, scale = torch.tensor([mean]).double(), torch.tensor([std]).double()
    probs = DiscretisedNormal(loc, scale, bins).probs[0]
    tails = torch.special.ndtr(torch.cat([(-1 - loc) / scale, (loc - 1) / scale]))
    return probs, tails


def _normal(mean: float, std: float, bins: int) -> DiscretisedNormal:
    loc = torch.tensor([mean]).double()
    return DiscretisedNormal(loc, torch.full_like(loc, std), bins)


def _bins(axes):
    """A normal as a curve, and its bins as bars: areas can be compared, the tails are orange."""
    bars = axes.stairs([0.0, 0.0], [-1.0, 0.0, 1.0], fill=True, color=COLOURS.output, alpha=0.45,
                       lw=0)
    tails = dict(color=TAIL, alpha=0.75, lw=0)
    piled = [axes.bar(0, 0, 1, **tails)[0] for _ in range(2)]
    walls = axes.vlines([], 0, 1, color="white", lw=1)
    x = torch.linspace(-2.4, 2.4, 961).double()
    (curve,) = axes.plot(x, x * 0, color=COLOURS.output, lw=2)
    outside = [axes.fill_between([0, 1], [0, 0], **tails) for _ in range(2)]
    for end in (-1, 1):
        axes.axvline(end, color=COLOURS.text, lw=0.9, ls=(0, (4, 3)))
    axes.set(xlabel="value", xlim=(-2.4, 2.4), ylim=(0, 1), yticks=[])

    def show(mean: float, log_std: float, bins: int) -> str:
        std, width = math.exp(log_std), 2.0 / bins
        probs, beyond = _cut(mean, std, bins)
        kept = probs.clone()
        kept[0] -= beyond[0]
        kept[-1] -= beyond[1]
        edges = torch.linspace(-1, 1, bins + 1).double()
        density = torch.distributions.Normal(mean, std).log_prob(x).exp()
        # Heights are scaled, not the axis, which has no numbers: a still axis need not be redrawn.
        top = 1.12 * max(float(probs.max()) / width, float(density.max()))
        high, density = 1 / (width * top), density / top
        bars.set_data(kept * high, edges)
        for bar, k, tail in zip(piled, (0, bins - 1), beyond, strict=True):
            bar.set(x=float(edges[k]), y=float(kept[k]) * high, width=width,
                    height=float(tail) * high)
        curve.set_ydata(density)
        walls.set_segments([[(float(e), 0), (float(e), 1)] for e in edges[1:-1]])
        for area, where in zip(outside, (x <= -1, x >= 1), strict=True):
            area.set_data(x[where], 0 * x[where], density[where])
        return (
            f"<b>Mass outside [−1, 1]: {float(beyond.sum()):.1%}</b> (orange); it is piled on the "
            f"outer two bins, which hold {float(probs[0]):.1%} and {float(probs[-1]):.1%}."
        )

    return show


def _bins_and_means(axes):
    """`_bins`, and beside it the mean of the bins for every μ."""
    show_bins, right = _bins(axes[0]), axes[1]
    axes[0].set_title("The normal, cut into bins")
    mu = torch.linspace(-1.6, 1.6, 641).double()
    right.plot(mu, mu, color=COLOURS.data, lw=1, ls=(0, (4, 3)))
    (means,) = right.plot(mu, mu, color=COLOURS.output)
    (here,) = right.plot([0], [0], "o", color=COLOURS.output, ms=8, mec="white")
    right.set(title="Mean of the bins against μ", xlabel="μ", xlim=(-1.6, 1.6), ylim=(-1.25, 1.25))

    def show(mean: float, log_std: float, bins: int) -> str:
        caption, std = show_bins(mean, log_std, bins), math.exp(log_std)
        means.set_ydata(DiscretisedNormal(mu, torch.full_like(mu, std), bins).mean)
        of_bins = float(_normal(mean, std, bins).mean)
        here.set_data([mean], [of_bins])
        return f"{caption} The normal's mean is {mean:.2f}, that of the bins {of_bins:.2f}."

    return show


def bins_explorer(mean: float = 0.6, log_std: float = -0.7, bins: int = 8) -> Explorer:
    """A normal gathered into bins (107–109): drag μ, ln σ and the number of bins.

    Bars are probability over bin width, so that areas can be compared with the curve's. Right, the
    mean of the bins for every μ at this σ.
    """
    controls = {
        "mean": slider("μ, centre of the normal", -1.6, 1.6, mean, 0.05),
        "log_std": slider("ln σ, its width", -4.0, 1.5, log_std, 0.1, digits=1),
        "bins": slider("K, number of bins", 2, 40, bins),
    }
    return explore(
        _bins_and_means, controls, size=(9, 3.9), grid=(1, 2), width_ratios=[1.7, 1],
        description="A normal distribution cut into bins, with the mass of its tails piled on the "
        "outer two, and the mean of the bins against the normal's.",
    )


def bins_figure(settings=((0.0, -0.7), (0.6, -0.7), (1.3, -1.2)), bins: int = 8):
    """A few normals, each cut into the same bins; (μ, ln σ) for each."""
    states = {f"μ = {mean:g}, σ = {math.exp(log_std):.2f}":
              {"mean": mean, "log_std": log_std, "bins": bins} for mean, log_std in settings}
    return at_rest(_bins, states, size=(9, 2.9))


# The receiver as a comb


def _comb_curves(flow, output, level, alpha, y):
    """Densities over y: sender, receiver, its teeth (points, K), and the bell around x̂."""
    x = flow.centres[level : level + 1].to(y.dtype)
    sender = flow.sender(x, alpha).log_prob(y.unsqueeze(1)).exp().squeeze(1)
    receiver = flow.receiver(output, alpha).log_prob(y.unsqueeze(1)).exp().squeeze(1)
    teeth = flow.sender(flow.centres.to(y.dtype), alpha).log_prob(y.unsqueeze(1)).exp()
    bell = ContinuousFlow(flow.sigma_1, data_range=None).sender(output.mean, alpha)
    return sender, receiver, teeth * output.probs, bell.log_prob(y.unsqueeze(1)).exp().squeeze(1)


def _comb(axes, bins: int = 8):
    """Sender, receiver and its teeth, and the single bell around the mean guess."""
    flow, y = DiscretisedFlow(bins, 0.02), torch.linspace(-2.6, 2.6, 1301).double()
    teeth = [axes.plot(y, y, color=COLOURS.output, lw=0.9, alpha=0.8)[0] for _ in range(bins)]
    teeth[0].set_label("teeth: one bell per bin, times its probability")
    looks = (
        (style.LABELS.sender, {"color": COLOURS.sender}),
        (style.LABELS.receiver, {"color": COLOURS.receiver}),
        ("one bell around the mean guess", {"color": TAIL, "ls": (0, (4, 3)), "lw": 1.5}),
    )
    curves = [axes.plot(y, y, label=label, **look)[0] for label, look in looks]
    axes.vlines(flow.centres.numpy(), 0, 0.03, color=COLOURS.data, lw=1.5)
    axes.set(xlabel="message y (ticks: the bins' centres)", yticks=[], xlim=(-2.6, 2.6),
             ylim=(0, 1))

    def show(alpha: float, level: int, mean: float, log_std: float) -> str:
        output = _normal(mean, math.exp(log_std), bins)
        sender, receiver, parts, bell = _comb_curves(flow, output, level, alpha, y)
        # Heights are scaled, not the axis, which has no numbers: a still axis need not be redrawn.
        top = 1.08 * torch.stack([sender, receiver, bell]).max()
        for line, values in zip((*curves, *teeth), (sender, receiver, bell, *parts.T), strict=True):
            line.set_ydata(values / top)
        comb, single = comb_costs(flow, output, level, alpha)
        name = -float(output.log_probs[0, level]) / BIT
        return (
            f"KL(sender ‖ receiver): <b>this message costs {comb:.2f} bits</b>, and could never "
            f"cost more than {name:.2f}, the price −log₂ p<sub>O</sub> of the bin itself. To "
            f"someone who expects the single bell it would cost {single:.2f}."
        )

    return show


def comb_explorer(bins: int = 8, alpha: float = 60.0, level: int = 5) -> Explorer:
    """The receiver of discretised data as a comb of Gaussians, beside the sender (113).

    Controls: the accuracy α, the bin of x, and μ and ln σ of the output distribution.
    """
    controls = {
        "alpha": log_slider("α, accuracy of the message", 0.5, 2000, alpha),
        "level": slider("k, bin of the true x", 0, bins - 1, level),
        "mean": slider("μ of the guess", -1.6, 1.6, 0.0, 0.05),
        "log_std": slider("ln σ of the guess", -4.0, 1.5, -0.8, 0.1, digits=1),
    }

    def picture(axes):
        show = _comb(axes, bins)
        axes.figure.legend(loc="outside upper center", ncols=2)
        return show

    return explore(
        picture, controls, size=(9, 4),
        description="A sender's bell over one bin and the receiver's comb of bells over all bins; "
        "the teeth merge when the accuracy is small.",
    )


def comb_figure(alphas=(3.0, 30.0, 300.0), bins: int = 8, level: int = 5):
    """Sender and receiver at a few accuracies, with the cost of the message."""
    guess, states = {"level": level, "mean": 0.0, "log_std": -0.8}, {}
    for alpha in alphas:
        output = _normal(guess["mean"], math.exp(guess["log_std"]), bins)
        comb, single = comb_costs(DiscretisedFlow(bins, 0.02), output, level, alpha)
        states[f"α = {alpha:g}: {comb:.2f} bits, not {single:.2f}"] = {"alpha": alpha, **guess}
    return at_rest(functools.partial(_comb, bins=bins), states, size=(9, 3.3), legend=2)


# Data on a grid, and a model that does not know that there is one


def _bills_over_time(axes):
    """What the two networks have paid by time t, for one σ₁."""
    (known,) = axes.plot([], [], color=COLOURS.output, label="knows the grid")
    (smooth,) = axes.plot([], [], color=TAIL, label="does not know it")
    axes.axhline(grid_models()[0].entropy() / BIT, color=COLOURS.data, lw=1, ls=(0, (4, 3)),
                 label="entropy of the data")
    axes.set(xlabel="time t", ylabel="bits paid so far", xlim=(0, 1), ylim=(0, 8))
    axes.legend(loc="upper left")

    def show(sigma_1: float):
        times, *bills = grid_bills(sigma_1)
        for line, bill in zip((known, smooth), bills, strict=True):
            line.set_data(times, bill)
        return times, bills

    return show


def _grid(axes):
    """What two networks know at time t, and what both have paid."""
    left, right = axes
    models = grid_models()
    entropy, data = models[0].entropy() / BIT, models[0].data
    ticks = [-1 + 2 * k / GRID for k in range(GRID + 1)]
    left.set(title="What each knows at time t", xlim=(-1.05, 1.05), ylim=(-1.05, 1.05),
             xticks=ticks, yticks=ticks, aspect="equal")
    left.tick_params(labelsize=8)
    left.scatter(*data.T, s=70, marker="o", fc="none", ec=COLOURS.data, label="data")
    angle = torch.linspace(0, 2 * math.pi, 81)
    circle = torch.stack([angle.cos(), angle.sin()])
    (belief,) = left.plot([], [], color=COLOURS.input, label=style.LABELS.input)
    cells = left.scatter(*data.T, s=0, marker="s", color=COLOURS.output, alpha=0.55)
    cloud = left.scatter([], [], s=5, color=TAIL, lw=0)
    guesses = {"guess that knows the grid": COLOURS.output, "one that does not": TAIL}
    for name, colour in guesses.items():
        left.plot([], [], "s", color=colour, ms=8, alpha=0.6, label=name)
    (truth,) = left.plot([], [], "x", color=COLOURS.sender, ms=9, mew=2, label="the true x")
    show_bills = _bills_over_time(right)
    now = right.axvline(0, color=COLOURS.text, lw=0.9)
    right.set(title="Bits paid so far, averaged over the data", ylabel="")
    left.figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3)

    def show(t: float, sigma_1: float, point: int, noise: int = 0) -> str:
        x = data[point : point + 1]
        # One noise vector for the whole way, so that dragging t moves one belief.
        generator = torch.Generator().manual_seed(noise + 1)
        theta = ContinuousFlow(sigma_1).sample_flow(x, t, generator)
        knowing, smooth = (model.posterior(theta)[0] for model in models)
        std = float(theta.precision) ** -0.5
        belief.set_data(*(theta.mean.T + std * circle))
        cells.set_sizes(420 * knowing)
        likely = smooth > 0.02 * smooth.max()
        cloud.set_offsets(models[1].data[likely])
        cloud.set_alpha((0.9 * smooth[likely] / smooth.max()).clamp(0.03).numpy())
        truth.set_data(*x.T)
        times, bills = show_bills(sigma_1)
        now.set_xdata([t, t])
        paid = [float(bill[(times - t).abs().argmin()]) for bill in bills]
        return (
            f"The belief is {std:.3f} wide, a bin {2 / GRID:g}. So far the network that knows the "
            f"grid has paid <b>{paid[0]:.2f} bits</b>, the one that does not "
            f"<b>{paid[1]:.2f}</b>; the data hold {entropy:.2f}."
        )

    return show


def grid_explorer(t: float = 0.35, sigma_1: float = 0.05, point: int = 3) -> Explorer:
    """Two perfect networks on the same 2-D data; only one knows that they lie on a grid.

    Controls: the time, σ₁, which point is sent, and another draw of the noise.
    """
    controls = {
        "t": slider("t, time", 0.0, 1.0, t, 0.02),
        "sigma_1": log_slider("σ₁, the belief's last width", *SIGMAS, sigma_1),
        "point": slider("which point is sent", 0, len(POINTS) - 1, point),
        "noise": button("Other messages"),
    }
    return explore(
        _grid, controls, size=(9, 4.2), grid=(1, 2), width_ratios=[1, 1.35], play="t",
        filmed=["t", "sigma_1"],
        description="A belief narrowing on a point of a grid, and the bits paid by a network that "
        "knows the grid and by one that does not.",
    )


def grid_figure(sigma_1: float = 0.05):
    """What the two networks have paid by time t, without controls."""
    figure, axes = style.subplots(size=(7.2, 3.4))
    _, bills = _bills_over_time(axes)(sigma_1)
    axes.set_ylim(0, 1.05 * max(float(bill.max()) for bill in bills))
    width = math.log(GRID) / -math.log(sigma_1)
    axes.axvline(width, color=COLOURS.faint, lw=1.2)
    axes.annotate("the belief is half a bin wide", (width, 0.4), (6, 0), fontsize=9,
                  textcoords="offset points")
    return figure


# Pixels as they form


PANELS = ("belief: mean μ", "guess: mean of the bins", "doubt: std of the guess")


def samples_explorer(beliefs: Tensor, guesses: Tensor, spreads: Tensor, step: int = 6) -> Explorer:
    """Images as they form: drag the step (or play).

    Args:
        beliefs, guesses, spreads: (n_steps + 1, N, H, W), from `record`.
        step: where the slider starts.
    """
    count = len(beliefs) - 1
    columns = max(1, round(math.sqrt(beliefs.shape[1])))

    def picture(axes):
        axes[0].figure.get_layout_engine().set(wspace=0.06)
        # Doubt from 0 (black) to the widest that values in [−1, 1] can be (white).
        frames = (beliefs, guesses, 2 * spreads - 1)
        shown = [grey(a, f[0], columns, name)
                 for a, f, name in zip(axes, frames, PANELS, strict=True)]

        def show(step: int) -> str:
            for image, frame in zip(shown, frames, strict=True):
                image.set_data(tile(frame[step], columns).numpy())
            level = spreads[step].mean()
            return (
                f"After {step} of {count} messages, t = {step / count:.2f}: the guess for a pixel "
                f"is uncertain by {float(level):.2f} on average (a bin is {2 / 17:.2f} wide)."
            )

        return show

    return explore(
        picture, {"step": slider("messages received", 0, count, step)}, size=(9, 3.4), grid=(1, 3),
        play="step",
        description="Digits forming: Bob's belief, the network's guess and its doubt about every "
        "pixel, after each message.",
    )


def samples_figure(beliefs: Tensor, guesses: Tensor, steps, columns: int = 3):
    """Belief (top) and guess (bottom) after some numbers of messages, for the first images."""
    figure, axes = style.subplots(2, len(steps), size=(9, 4.1))
    figure.get_layout_engine().set(wspace=0.06)
    for column, step in enumerate(steps):
        title = "1 message" if step == 1 else f"{step} messages"
        grey(axes[0, column], beliefs[step, : columns**2], columns, title)
        grey(axes[1, column], guesses[step, : columns**2], columns, "")
    axes[0, 0].text(-0.08, 0.5, "belief", rotation=90, va="center", ha="right",
                    transform=axes[0, 0].transAxes)
    axes[1, 0].text(-0.08, 0.5, "guess", rotation=90, va="center", ha="right",
                    transform=axes[1, 0].transAxes)
    return figure


