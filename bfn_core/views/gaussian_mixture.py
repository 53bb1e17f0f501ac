"""Pictures of the one-dimensional flow: one number, and what Bob believes about it.

`flow_explorer` moves in the reader's browser; `flow_figure` is the same picture at rest.
`flow_surface` is the flow over all the data, to turn; `steps_explorer` draws samples with the
perfect network.
Equation numbers are those of Graves et al., arXiv 2308.07037.
"""

import dataclasses
import functools
import itertools
import math

import numpy
import torch
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap
from plotly import graph_objects

from bfn_core.flows import ContinuousFlow

from .kit import plotly_figure, style
from .kit.browser import BrowserExplorer
from .kit.explorer import button, explore, slider
from .kit.plotly_figure import PlotlyFigure
from .kit.style import COLOURS

MEANS = (-0.75, -0.25, 0.25, 0.75)
STD = 0.05


def mixture(means, weights, std):
    means = [float(mean) for mean in means]
    if not means:
        raise ValueError("means must hold at least one number, but is empty")
    weights = [1.0] * len(means) if weights is None else [float(weight) for weight in weights]
    if len(weights) != len(means) or min(weights) < 0 or sum(weights) <= 0:
        raise ValueError(f"weights must be {len(means)} numbers, none below 0, but are {weights}")
    if not 0 < std < 1:
        raise ValueError(f"std must lie between 0 and 1, but is {std}")
    return means, [weight / sum(weights) for weight in weights], float(std)


def normal(v, mean, std):
    return numpy.exp(-0.5 * ((v - mean) / std) ** 2) / (std * math.sqrt(2 * math.pi))


def mixture_density(v, means, weights, std):
    return sum(w * normal(v, m, std) for m, w in zip(means, weights, strict=True))


def mixture_output(mu, beta, means=MEANS, weights=None, std=STD):
    """The perfect network's output distribution for a mixture of Gaussians of one width.

    The belief (μ, ρ = 1 + β) holds messages of total accuracy β; Bayes' rule with the mixture as
    the prior gives a mixture again.

    Args:
      mu: the belief's mean, any shape S.
      beta: the messages' accumulated accuracy, broadcast against `mu`.
      means, weights: of the mixture's J components, (J,); equal weights by default.
      std: their common standard deviation.

    Returns:
        (weights, means, std) of the posterior mixture, S + (J,) twice, and S.
    """
    means, weights, std = mixture(means, weights, std)
    m, mu, beta = numpy.array(means), numpy.asarray(mu)[..., None], numpy.asarray(beta)[..., None]
    evidence = (1 + beta) * mu  # accuracy times mean of all messages
    logs = (evidence * m - 0.5 * beta * m**2) / (1 + beta * std**2)
    parts = numpy.array(weights) * numpy.exp(logs - logs.max(-1, keepdims=True))
    precision = std**-2 + beta
    posterior_means = (m / std**2 + evidence) / precision
    return parts / parts.sum(-1, keepdims=True), posterior_means, precision[..., 0] ** -0.5


def mixture_guess(mu, beta, means=MEANS, weights=None, std=STD):
    """The mean x̂ of `mixture_output` for one β, without its parts: five times as fast.

    Arguments as there, but `mu` is (B,) and `beta` a number. Returns (B,).
    """
    means, weights, std = mixture(means, weights, std)
    evidence = (1 + beta) * mu
    scale = 1 / (1 + beta * std**2)
    shift = 0.5 * beta * scale
    logs = [math.log(w) + (m * scale) * evidence - shift * m * m
            for m, w in zip(means, weights, strict=True) if w > 0]
    top = functools.reduce(numpy.maximum, logs)
    parts = [numpy.exp(log - top) for log in logs]
    means = [m for m, w in zip(means, weights, strict=True) if w > 0]
    prior = sum(m * part for m, part in zip(means, parts, strict=True)) / sum(parts)
    return (prior / std**2 + evidence) / (std**-2 + beta)


def flow_explorer(
    means=MEANS, weights=None, std=STD, *, t=0.3, x=0.25, sigma_1=0.02, steps=20, seed=5
):
    """The flow from prior to data, to drag, in the reader's browser.

    Left, the flow distribution p_F(μ | x; t) over all times (77), and one belief on its way. In the
    middle, at the time t: the input distribution N(μ, 1/ρ), the perfect network's output
    distribution, and the data. Right, the next of `steps` messages: the sender's N(x, 1/α) and the
    receiver's N(x̂, 1/α), with the nats it costs, α/2 (x − x̂)² (96).

    Args:
      means, weights, std: the data, a mixture of Gaussians; equal weights by default.
      t, x, sigma_1, steps: where the sliders start: time, true value, noise at the end, messages.
      seed: of the noise that the shown belief meets; a button draws another.

    Returns:
        A `BrowserExplorer`.
    """
    means, weights, std = mixture(means, weights, std)
    for name, value, low, high in (("t", t, 0, 1), ("x", x, -1, 1), ("sigma_1", sigma_1, 0.01, 0.5),
                                   ("steps", steps, 1, 100)):
        if not low <= value <= high:
            raise ValueError(f"{name} must lie between {low} and {high}, but is {value}")
    figure = flow_figure(means, weights, std, x=x, sigma_1=sigma_1)
    settings = {"means": means, "weights": weights, "std": std}
    return BrowserExplorer(
        "flow",
        {**settings, "colours": dataclasses.asdict(COLOURS)},
        {"t": t, "x": x, "sigma_1": sigma_1, "steps": steps, "seed": seed},
        figure=figure,
        description="The flow of one number from prior to data: drag the time, the true value and "
        "the final noise, and watch Bob's belief narrow.",
        height=560,
    )


def flow_figure(
    means=MEANS, weights=None, std=STD, *, x=0.25, sigma_1=0.02, times=(0.1, 0.35, 0.8), seed=5
):
    """The flow distribution over time, one belief on its way, and what it is at a few `times`.

    Beside each belief the perfect network's whole posterior, and its mean x̂, which for continuous
    data is the output; on the right the next of 20 messages at the first of `times`.
    """
    means, weights, std = mixture(means, weights, std)
    grid, schedule = numpy.linspace(0, 1, 481), ContinuousFlow(sigma_1).schedule
    beta, gamma = (of(torch.from_numpy(grid)).numpy() for of in (schedule.beta, schedule.gamma))
    v = numpy.linspace(-1.7, 1.7, 800)
    noise = numpy.random.default_rng(seed).normal(size=480)
    walk = numpy.concatenate(([0], numpy.cumsum(numpy.sqrt(numpy.diff(beta)) * noise)))
    mu = (beta * x + walk) / (1 + beta)

    ratios = [2.1] + [1] * (len(times) + 1)
    figure, axes = style.subplots(1, len(ratios), size=(9.2, 3.7), sharey=True, width_ratios=ratios)
    spread = numpy.sqrt(gamma * (1 - gamma))
    for z in numpy.arange(2.8, 0, -0.14):
        axes[0].fill_between(
            grid, gamma * x - z * spread, gamma * x + z * spread, color=COLOURS.flow, lw=0,
            alpha=_band(z), label=style.LABELS.flow if z == 2.8 else None,
        )
    axes[0].plot(grid, mu, color=COLOURS.input, lw=1.5)
    axes[0].set(title="The flow, and one belief on its way", xlabel="time t", ylabel="value",
                xlim=(0, 1), ylim=(-1.7, 1.7))
    for panel, t in zip(axes[1:-1], times, strict=True):
        k = round(t * 480)
        axes[0].axvline(t, color=COLOURS.text, lw=0.8)
        axes[0].plot(t, mu[k], "o", color=COLOURS.input)
        w, m, s = mixture_output(mu[k], beta[k], means, weights, std)
        curves = (
            ("data", mixture_density(v, means, weights, std), {"alpha": 0.35}),
            ("input", normal(v, mu[k], (1 + beta[k]) ** -0.5), {}),
            ("output", mixture_density(v, m, w, s), {"label": "what x may be, given the belief"}),
        )
        for name, density, look in curves:
            _sideways(panel, v, density, name, **look)
        guess = float((w * m).sum())
        panel.plot(0.04, guess, "o", color=COLOURS.output, mec="white", ms=9, clip_on=False,
                   label="output: its mean x̂")
        panel.set(title=f"Bob at t = {t:g}", xticks=[], xlim=(0, 1.08))
    _draw_next_message(axes[-1], v, x, sigma_1, times[0], mu, means, weights, std)
    for panel in axes:
        panel.axhline(x, color=COLOURS.data, lw=1, ls=(0, (5, 4)), label="the true x")
    found = {}
    for panel in (axes[1], axes[-1]):
        found |= dict(zip(*panel.get_legend_handles_labels()[::-1], strict=True))
    figure.legend(found.values(), found, loc="outside lower center", ncols=4)
    return figure


def _sideways(panel, v, density, name, **look):
    """A density that grows to the right, to the same height as all others."""
    colour, height = getattr(COLOURS, name), density / density.max()
    look.setdefault("label", getattr(style.LABELS, name))
    panel.plot(height, v, color=colour, **look)
    panel.fill_betweenx(v, height, color=colour, alpha=0.1, lw=0)


def _draw_next_message(panel, v, x, sigma_1, t, mu, means, weights, std, steps=20):
    """The sender N(x, 1/α) and the receiver N(x̂, 1/α) of the message sent at time t."""
    beta, later = (ContinuousFlow(sigma_1).beta(u) for u in (t, t + 1 / steps))
    w, m, _ = mixture_output(mu[round(t * 480)], beta, means, weights, std)
    for name, centre in (("receiver", float((w * m).sum())), ("sender", x)):
        _sideways(panel, v, normal(v, centre, (later - beta) ** -0.5), name)
    panel.set(title=f"Message at {t:g}", xticks=[], xlim=(0, 1.08))


def _band(z, step=0.14, top=0.75):
    """The opacity of one of the nested bands whose shades together look like a Gaussian."""
    shade = [top * math.exp(-0.5 * u * u) if u < 2.8 + step / 2 else 0 for u in (z, z + step)]
    return 1 - (1 - shade[0]) / (1 - shade[1])


def flow_over_data(mu, t, means=MEANS, weights=None, std=STD, *, sigma_1=0.02):
    """The density of Bob's mean μ at time t when x is any of the data, not one: E_x p_F(μ | x; t).

    For one x it is N(γx, γ(1 − γ)) (77); a bump of the data of width `std` adds (γ std)².

    Args:
      mu, t: where, and when (in (0, 1]); their shapes are broadcast.
      means, weights, std: the data, a mixture of Gaussians; equal weights by default.
      sigma_1: the noise that is left at t = 1.
    """
    means, weights, std = mixture(means, weights, std)
    t = torch.as_tensor(t, dtype=torch.float64)
    gamma = ContinuousFlow(sigma_1).schedule.gamma(t).numpy()
    spread = numpy.sqrt(gamma * (1 - gamma) + (gamma * std) ** 2)
    return sum(w * normal(mu, gamma * m, spread) for m, w in zip(means, weights, strict=True))


SEEN_FROM = (-38, 38)  # where the eye stands before `flow_surface`: degrees around, and above
LOW_TO_HIGH = ("#F4FAFE", COLOURS.flow, COLOURS.input, "#00243A")


def flow_surface(means=MEANS, weights=None, std=STD, *, sigma_1=0.02):
    """`flow_over_data` as a surface over time and value, to turn and to point at.

    Returns:
        A `PlotlyFigure`.
    """
    times = numpy.linspace(0.02, 1, 50)
    mu = numpy.linspace(-1.3, 1.3, 105)
    density = flow_over_data(mu[:, None], times, means, weights, std, sigma_1=sigma_1)
    around, above = (math.radians(angle) for angle in SEEN_FROM)
    eye = (math.cos(around) * math.cos(above), math.sin(around) * math.cos(above), math.sin(above))
    ridges = {"show": True, "color": "white", "width": 1, "highlight": True}
    surface = graph_objects.Surface(
        x=times,
        y=mu,
        z=density,
        colorscale=[[i / 3, colour] for i, colour in enumerate(LOW_TO_HIGH)],
        showscale=False,
        lighting={"ambient": 0.75, "diffuse": 0.4, "specular": 0.05},
        contours={"x": {**ridges, "start": 0.1, "end": 0.95, "size": 0.1},
                  "y": {"highlight": False}, "z": {"highlight": False}},
        hovertemplate="t = %{x:.2f}<br>μ = %{y:.2f}<br>density %{z:.2f}<extra></extra>",
    )
    names = {"xaxis": {"title": {"text": "time t"}}, "yaxis": {"title": {"text": "Bob's mean μ"}},
             "zaxis": {"title": {"text": "density"}}}
    figure = plotly_figure.new(
        [surface],
        height=520,
        scene={**names, "aspectmode": "manual", "aspectratio": {"x": 1.3, "y": 1.2, "z": 0.6},
               "dragmode": "turntable",
               "camera": {"eye": dict(zip("xyz", (2.4 * part for part in eye), strict=True)),
                          "center": {"x": 0.05, "y": 0, "z": -0.12}}},
    )
    return PlotlyFigure(
        figure,
        _surface_at_rest(times, mu, density),
        "The density of Bob's mean over time as a landscape: one ridge sets out from zero, spreads "
        "and forks into four, one for each bump of the data.",
    )


def _surface_at_rest(times, mu, density):
    """The same landscape as a Matplotlib figure."""
    figure, axes = style.subplots(size=(6.4, 4.2), subplot_kw={"projection": "3d"})
    colours = LinearSegmentedColormap.from_list("low to high", LOW_TO_HIGH)
    axes.plot_surface(*numpy.meshgrid(times, mu), density, cmap=colours, rcount=105, ccount=50,
                      lw=0, antialiased=False)
    axes.view_init(elev=SEEN_FROM[1], azim=SEEN_FROM[0])
    axes.set_box_aspect((1.3, 1.2, 0.6), zoom=0.95)
    axes.set(xlabel="time t", ylabel="Bob's mean μ", zlabel="density")
    return figure


def sample_paths(steps, sigma_1, noise, means=MEANS, weights=None, std=STD):
    """Draw samples of a mixture of Gaussians with its perfect network, and keep every belief.

    Args:
      steps: the number n of messages.
      sigma_1: the noise that is left at t = 1.
      noise: standard normal numbers, (at least n, B).

    Returns:
        The belief's mean at times 0, 1/n ... 1, (n + 1, B), and the samples x̂, (B,).
    """
    flow = ContinuousFlow(sigma_1)
    theta = flow.prior((noise.shape[1],), dtype=torch.float64)
    mu = [theta.mean.numpy()]
    for i in range(steps):
        alpha = flow.alpha(i + 1, steps)
        guess = mixture_guess(mu[-1], flow.beta(i / steps), means, weights, std)
        y = guess + noise[i] / math.sqrt(alpha)  # the receiver's draw
        theta = flow.update(theta, torch.from_numpy(y), alpha)
        mu.append(theta.mean.numpy())
    return numpy.stack(mu), mixture_guess(mu[-1], flow.beta(1.0), means, weights, std)


def _samples_and_data(axes, kind, sigma_1, samples, paths):
    """Some samples on their way, and all of them against the data."""
    left, right = axes
    edges, v = numpy.linspace(-1.2, 1.2, 81), numpy.linspace(-1.2, 1.2, 600)
    mass = numpy.array([_mass(a, b, **kind) for a, b in itertools.pairwise(edges)])
    floor = 0.5 * numpy.sqrt(2 * mass * (1 - mass) / (math.pi * samples)).sum()
    lines = LineCollection([], colors=COLOURS.input, linewidths=0.9, alpha=0.45)
    left.add_collection(lines)
    left.set(title=f"{paths} beliefs on their way", xlabel="time t", ylabel="value", xlim=(0, 1),
             ylim=(-1.35, 1.35))
    data = mixture_density(v, **kind)
    right.fill_betweenx(v, data, color=COLOURS.data, alpha=0.15, lw=0)
    right.plot(data, v, color=COLOURS.data, lw=1.2, label="data")
    bars = right.stairs(numpy.zeros(80), edges, orientation="horizontal", fill=True, alpha=0.6,
                        color=COLOURS.output, label=f"{samples} samples")
    right.set(title="Samples against data", xlabel="density", xlim=(0, 1.6 * data.max()))
    right.figure.get_layout_engine().set(w_pad=0.12)  # room for the last tick beside the first
    right.legend(loc="lower right")

    @functools.cache
    def drawn(n, draw):
        noise = numpy.random.default_rng(draw).normal(size=(100, samples))
        return sample_paths(n, sigma_1, noise, **kind)

    def show(n, draw):
        mu, x = drawn(n, draw)
        times = numpy.linspace(0, 1, n + 1)
        lines.set_segments([numpy.stack([times, path], -1) for path in mu[:, :paths].T])
        share = numpy.histogram(x, edges)[0] / samples
        bars.set_data(values=share / (edges[1] - edges[0]))
        distance = 0.5 * (numpy.abs(share - mass).sum() + (1 - share.sum()) + (1 - mass.sum()))
        return (
            f"<b>{n} step{'s' * (n > 1)}</b>: the samples are {distance:.3f} from the data in "
            f"total variation (0 is the same, 1 is nothing in common); {samples} draws from the "
            f"data itself would be about {floor:.3f} away."
        )

    return show


def steps_explorer(
    means=MEANS, weights=None, std=STD, *, steps=10, sigma_1=0.02, samples=2000, paths=40
):
    """Samples of the perfect network, drawn with more or fewer steps.

    Left, the beliefs of some samples on their way; right, all samples as a histogram against the
    data. The caption gives the total variation distance between the two over the bins, and what
    as many draws from the data itself would give.

    Args:
      means, weights, std: the data, a mixture of Gaussians; equal weights by default.
      steps: where the slider starts, 1 to 100.
      sigma_1: the noise that is left at t = 1.
      samples, paths: how many are drawn, and how many of their paths are shown.

    Returns:
        An `Explorer`.
    """
    means, weights, std = mixture(means, weights, std)
    controls = {
        "n": slider("number of steps n", 1, 100, steps, width=320),
        "draw": button("Other random numbers"),
    }
    kind = {"means": means, "weights": weights, "std": std}
    picture = functools.partial(_samples_and_data, kind=kind, sigma_1=sigma_1, samples=samples,
                                paths=paths)
    return explore(
        picture, controls, size=(9, 3.6), grid=(1, 2), sharey=True, width_ratios=(1.7, 1),
        description="Samples of the perfect network: drag the number of steps from 1 to 100, and "
        "one blur becomes four bumps.", play="n", seconds=8,
    )


def _mass(a, b, means, weights, std):
    """The probability that the mixture lies between a and b."""
    scale = 1 / (std * math.sqrt(2))
    return 0.5 * sum(
        w * (math.erf((b - m) * scale) - math.erf((a - m) * scale))
        for w, m in zip(weights, means, strict=True)
    )


