"""Pictures of the one-dimensional flow: one number, and what Bob believes about it.

`flow_explorer` moves in the reader's browser; `flow_figure` is the same picture at rest.
`flow_surface` is the flow over all the data, to turn; `steps_explorer` draws samples with the
perfect network.
Equation numbers are those of Graves et al., arXiv 2308.07037.
"""

import dataclasses
import functools
import math

import numpy
import torch
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap
from plotly import graph_objects
from torch import Tensor

from bfn_core.data.toy import GaussianMixture
from bfn_core.flows import ContinuousFlow
from bfn_core.one_number import drawn, flow_over_data

from .kit import plotly_figure, style
from .kit.browser import BrowserExplorer
from .kit.explorer import button, explore, slider
from .kit.plotly_figure import PlotlyFigure
from .kit.style import COLOURS

DATA = GaussianMixture()
VALUES = torch.linspace(-1.7, 1.7, 800, dtype=torch.float64)  # that x, or a message, may have


def normal(v: Tensor, mean, std) -> Tensor:
    """The density of N(mean, std²) at v."""
    return torch.distributions.Normal(mean, std).log_prob(v).exp()


def flow_explorer(data=DATA, *, t=0.3, x=0.25, sigma_1=0.02, steps=20, seed=5):
    """The flow from prior to data, to drag, in the reader's browser.

    Left, the flow distribution p_F(μ | x; t) over all times (77), and one belief on its way. In the
    middle, at the time t: the input distribution N(μ, 1/ρ), the perfect network's output
    distribution, and the data. Right, the next of `steps` messages: the sender's N(x, 1/α) and the
    receiver's N(x̂, 1/α), with the nats it costs, α/2 (x − x̂)² (96).

    Args:
      data: a `GaussianMixture`.
      t, x, sigma_1, steps: where the sliders start: time, true value, noise at the end, messages.
      seed: of the noise that the shown belief meets; a button draws another.

    Returns:
        A `BrowserExplorer`.
    """
    for name, value, low, high in (("t", t, 0, 1), ("x", x, -1, 1), ("sigma_1", sigma_1, 0.01, 0.5),
                                   ("steps", steps, 1, 100)):
        if not low <= value <= high:
            raise ValueError(f"{name} must lie between {low} and {high}, but is {value}")
    settings = {"means": list(data.means), "weights": data.probs().tolist(), "std": data.std}
    return BrowserExplorer(
        "flow",
        {**settings, "colours": dataclasses.asdict(COLOURS)},
        {"t": t, "x": x, "sigma_1": sigma_1, "steps": steps, "seed": seed},
        figure=flow_figure(data, x=x, sigma_1=sigma_1),
        description="The flow of one number from prior to data: drag the time, the true value and "
        "the final noise, and watch Bob's belief narrow.",
        height=560,
    )


def flow_figure(data=DATA, *, x=0.25, sigma_1=0.02, times=(0.1, 0.35, 0.8), seed=5):
    """The flow distribution over time, one belief on its way, and what it is at a few `times`.

    Beside each belief the perfect network's whole posterior, and its mean x̂, which for continuous
    data is the output; on the right the next of 20 messages at the first of `times`.
    """
    grid, flow = torch.linspace(0, 1, 481, dtype=torch.float64), ContinuousFlow(sigma_1)
    beta, gamma = flow.beta(grid), flow.schedule.gamma(grid)
    noise = torch.from_numpy(numpy.random.default_rng(seed).normal(size=480))
    walk = torch.nn.functional.pad((beta.diff().sqrt() * noise).cumsum(0), (1, 0))
    mu = (beta * x + walk) / (1 + beta)

    ratios = [2.1] + [1] * (len(times) + 1)
    figure, axes = style.subplots(1, len(ratios), size=(9.2, 3.7), sharey=True, width_ratios=ratios)
    spread = (gamma * (1 - gamma)).sqrt()
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
        _draw_belief(panel, data, mu[k], beta[k])
        panel.set(title=f"Bob at t = {t:g}", xticks=[], xlim=(0, 1.08))
    k, later = round(times[0] * 480), flow.beta(times[0] + 1 / 20)
    for name, centre in (("receiver", data.guess(mu[k], beta[k])), ("sender", x)):
        _sideways(axes[-1], normal(VALUES, centre, (later - beta[k]) ** -0.5), name)
    axes[-1].set(title=f"Message at {times[0]:g}", xticks=[], xlim=(0, 1.08))
    for panel in axes:
        panel.axhline(x, color=COLOURS.data, lw=1, ls=(0, (5, 4)), label="the true x")
    found = {}
    for panel in (axes[1], axes[-1]):
        found |= dict(zip(*panel.get_legend_handles_labels()[::-1], strict=True))
    figure.legend(found.values(), found, loc="outside lower center", ncols=4)
    return figure


def _draw_belief(panel, data, mu, beta):
    """The data, the belief N(μ, 1/(1 + β)), and what the perfect network makes of it."""
    weights, means, std = data.posterior(mu, beta)
    after = GaussianMixture(tuple(means.tolist()), float(std), tuple(weights.tolist()))
    _sideways(panel, data.density(VALUES), "data", alpha=0.35)
    _sideways(panel, normal(VALUES, mu, (1 + beta) ** -0.5), "input")
    _sideways(panel, after.density(VALUES), "output", label="what x may be, given the belief")
    panel.plot(0.04, data.guess(mu, beta), "o", color=COLOURS.output, mec="white", ms=9,
               clip_on=False, label="output: its mean x̂")


def _sideways(panel, density, name, **look):
    """A density over `VALUES` that grows to the right, to the same height as all others."""
    colour, height = getattr(COLOURS, name), density / density.max()
    look.setdefault("label", getattr(style.LABELS, name))
    panel.plot(height, VALUES, color=colour, **look)
    panel.fill_betweenx(VALUES, height, color=colour, alpha=0.1, lw=0)


def _band(z, step=0.14, top=0.75):
    """The opacity of one of the nested bands whose shades together look like a Gaussian."""
    shade = [top * math.exp(-0.5 * u * u) if u < 2.8 + step / 2 else 0 for u in (z, z + step)]
    return 1 - (1 - shade[0]) / (1 - shade[1])


SEEN_FROM = (-38, 38)  # where the eye stands before `flow_surface`: degrees around, and above
LOW_TO_HIGH = ("#F4FAFE", COLOURS.flow, COLOURS.input, "#00243A")


def flow_surface(data=DATA, *, sigma_1=0.02):
    """`flow_over_data` as a surface over time and value, to turn and to point at.

    Returns:
        A `PlotlyFigure`.
    """
    times = torch.linspace(0.02, 1, 50, dtype=torch.float64)
    mu = torch.linspace(-1.3, 1.3, 105, dtype=torch.float64)
    density = flow_over_data(mu[:, None], times, data, sigma_1=sigma_1).numpy()
    times, mu = times.numpy(), mu.numpy()
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


def _samples_and_data(axes, data, sigma_1, samples, paths):
    """Some samples on their way, and all of them against the data."""
    left, right = axes
    edges, v = (torch.linspace(-1.2, 1.2, count, dtype=torch.float64) for count in (81, 600))
    mass = _mass(edges, data)
    floor = 0.5 * float((2 * mass * (1 - mass) / (math.pi * samples)).sqrt().sum())
    lines = LineCollection([], colors=COLOURS.input, linewidths=0.9, alpha=0.45)
    left.add_collection(lines)
    left.set(title=f"{paths} beliefs on their way", xlabel="time t", ylabel="value", xlim=(0, 1),
             ylim=(-1.35, 1.35))
    density = data.density(v)
    right.fill_betweenx(v, density, color=COLOURS.data, alpha=0.15, lw=0)
    right.plot(density, v, color=COLOURS.data, lw=1.2, label="data")
    bars = right.stairs(mass, edges, orientation="horizontal", fill=True, alpha=0.6,
                        color=COLOURS.output, label=f"{samples} samples")
    right.set(title="Samples against data", xlabel="density", xlim=(0, 1.6 * float(density.max())))
    right.figure.get_layout_engine().set(w_pad=0.12)  # room for the last tick beside the first
    right.legend(loc="lower right")

    @functools.cache
    def walk(n, draw):
        noise = torch.from_numpy(numpy.random.default_rng(draw).normal(size=(100, samples)))
        return drawn(n, sigma_1, noise, data)

    def show(n, draw):
        mu, x = walk(n, draw)
        times = torch.linspace(0, 1, n + 1, dtype=torch.float64)
        lines.set_segments([torch.stack([times, path], -1).numpy() for path in mu[:, :paths].T])
        share = torch.histogram(x, edges).hist / samples
        bars.set_data(values=(share / (edges[1] - edges[0])).numpy())
        outside = 1 - share.sum() + 1 - mass.sum()
        distance = 0.5 * float((share - mass).abs().sum() + outside)
        return (
            f"<b>{n} step{'s' * (n > 1)}</b>: the samples are {distance:.3f} from the data in "
            f"total variation (0 is the same, 1 is nothing in common); {samples} draws from the "
            f"data itself would be about {floor:.3f} away."
        )

    return show


def steps_explorer(data=DATA, *, steps=10, sigma_1=0.02, samples=2000, paths=40):
    """Samples of the perfect network, drawn with more or fewer steps.

    Left, the beliefs of some samples on their way; right, all samples as a histogram against the
    data. The caption gives the total variation distance between the two over the bins, and what
    as many draws from the data itself would give.

    Args:
      data: a `GaussianMixture`.
      steps: where the slider starts, 1 to 100.
      sigma_1: the noise that is left at t = 1.
      samples, paths: how many are drawn, and how many of their paths are shown.

    Returns:
        An `Explorer`.
    """
    controls = {
        "n": slider("number of steps n", 1, 100, steps, width=320),
        "draw": button("Other random numbers"),
    }
    picture = functools.partial(_samples_and_data, data=data, sigma_1=sigma_1, samples=samples,
                                paths=paths)
    return explore(
        picture, controls, size=(9, 3.6), grid=(1, 2), sharey=True, width_ratios=(1.7, 1),
        description="Samples of the perfect network: drag the number of steps from 1 to 100, and "
        "one blur becomes four bumps.", play="n", seconds=8,
    )


def _mass(edges: Tensor, data: GaussianMixture) -> Tensor:
    """How much of the data lies between each edge and the next, one fewer."""
    z = (edges.unsqueeze(-1) - torch.tensor(data.means, dtype=edges.dtype)) / data.std
    return (torch.special.ndtr(z) @ data.probs().to(edges.dtype)).diff()
