"""Pictures of the one-dimensional flow: one number, and what Bob believes about it.

`flow_explorer` moves in the reader's browser; `flow_figure` is the same picture at rest.
Equation numbers are those of Graves et al., arXiv 2308.07037.
"""

import dataclasses
import math

import numpy

from . import style
from .browser import BrowserExplorer
from .style import COLOURS

MEANS = (-0.75, -0.25, 0.25, 0.75)
STD = 0.05


def _mixture(means, weights, std):
    means = [float(mean) for mean in means]
    if not means:
        raise ValueError("means must hold at least one number, but is empty")
    weights = [1.0] * len(means) if weights is None else [float(weight) for weight in weights]
    if len(weights) != len(means) or min(weights) < 0 or sum(weights) <= 0:
        raise ValueError(f"weights must be {len(means)} numbers, none below 0, but are {weights}")
    if not 0 < std < 1:
        raise ValueError(f"std must lie between 0 and 1, but is {std}")
    return means, [weight / sum(weights) for weight in weights], float(std)


def _normal(v, mean, std):
    return numpy.exp(-0.5 * ((v - mean) / std) ** 2) / (std * math.sqrt(2 * math.pi))


def _mixture_density(v, means, weights, std):
    return sum(w * _normal(v, m, std) for m, w in zip(means, weights, strict=True))


def mixture_output(mu, beta, means=MEANS, weights=None, std=STD):
    """The perfect network's output distribution for a mixture of Gaussians of one width.

    The belief (μ, ρ = 1 + β) holds messages of total accuracy β; Bayes' rule with the mixture as
    the prior gives a mixture again.

    Arguments:
      mu: the belief's mean, any shape S.
      beta: the messages' accumulated accuracy, broadcast against `mu`.
      means, weights: of the mixture's J components, (J,); equal weights by default.
      std: their common standard deviation.

    Returns (weights, means, std) of the posterior mixture, S + (J,) twice, and S.
    """
    means, weights, std = _mixture(means, weights, std)
    m, mu, beta = numpy.array(means), numpy.asarray(mu)[..., None], numpy.asarray(beta)[..., None]
    evidence = (1 + beta) * mu  # accuracy times mean of all messages
    logs = (evidence * m - 0.5 * beta * m**2) / (1 + beta * std**2)
    parts = numpy.array(weights) * numpy.exp(logs - logs.max(-1, keepdims=True))
    precision = std**-2 + beta
    posterior_means = (m / std**2 + evidence) / precision
    return parts / parts.sum(-1, keepdims=True), posterior_means, precision[..., 0] ** -0.5


def flow_explorer(
    means=MEANS, weights=None, std=STD, *, t=0.3, x=0.25, sigma_1=0.02, steps=20, seed=5
):
    """The flow from prior to data, to drag, in the reader's browser.

    Left, the flow distribution p_F(μ | x; t) over all times (77), and one belief on its way. In the
    middle, at the time t: the input distribution N(μ, 1/ρ), the perfect network's output
    distribution, and the data. Right, the next of `steps` messages: the sender's N(x, 1/α) and the
    receiver's N(x̂, 1/α), with the nats it costs, α/2 (x − x̂)² (96).

    Arguments:
      means, weights, std: the data, a mixture of Gaussians; equal weights by default.
      t, x, sigma_1, steps: where the sliders start: time, true value, noise at the end, messages.
      seed: of the noise that the shown belief meets; a button draws another.

    Returns a `BrowserExplorer`.
    """
    means, weights, std = _mixture(means, weights, std)
    for name, value, low, high in (("t", t, 0, 1), ("x", x, -1, 1), ("sigma_1", sigma_1, 0.01, 0.5),
                                   ("steps", steps, 1, 100)):  # fmt: skip
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
    """The flow distribution over time, one belief on its way, and what it is at a few `times`."""
    means, weights, std = _mixture(means, weights, std)
    grid = numpy.linspace(0, 1, 481)
    beta = numpy.expm1(-2 * grid * math.log(sigma_1))  # (72)
    gamma = beta / (1 + beta)  # (80)
    v = numpy.linspace(-1.7, 1.7, 800)
    noise = numpy.random.default_rng(seed).normal(size=480)
    walk = numpy.concatenate(([0], numpy.cumsum(numpy.sqrt(numpy.diff(beta)) * noise)))
    mu = (beta * x + walk) / (1 + beta)

    ratios = [2.4] + [1] * len(times)
    figure, axes = style.subplots(
        1, len(ratios), size=(9, 3.4), sharey=True, width_ratios=ratios
    )  # fmt: skip
    spread = numpy.sqrt(gamma * (1 - gamma))
    for z in numpy.arange(2.8, 0, -0.14):
        axes[0].fill_between(
            grid, gamma * x - z * spread, gamma * x + z * spread, color=COLOURS.flow, lw=0,
            alpha=_band(z), label=style.LABELS.flow if z == 2.8 else None,
        )  # fmt: skip
    axes[0].plot(grid, mu, color=COLOURS.input, lw=1.5)
    axes[0].set(title="The flow, and one belief on its way", xlabel="time t", ylabel="value",
                xlim=(0, 1), ylim=(-1.7, 1.7))  # fmt: skip
    for panel, t in zip(axes[1:], times, strict=True):
        k = round(t * 480)
        axes[0].axvline(t, color=COLOURS.text, lw=0.8)
        axes[0].plot(t, mu[k], "o", color=COLOURS.input)
        w, m, s = mixture_output(mu[k], beta[k], means, weights, std)
        curves = (
            ("data", _mixture_density(v, means, weights, std), {"alpha": 0.35}),
            ("input", _normal(v, mu[k], (1 + beta[k]) ** -0.5), {}),
            ("output", _mixture_density(v, m, w, s), {}),
        )
        for name, density, look in curves:
            colour = getattr(COLOURS, name)
            panel.plot(density / density.max(), v, color=colour, label=getattr(style.LABELS, name),
                       **look)  # fmt: skip
            panel.fill_betweenx(v, density / density.max(), color=colour, alpha=0.1, lw=0)
        panel.set(title=f"Bob at t = {t:g}", xticks=[], xlim=(0, 1.08))
    for panel in axes:
        panel.axhline(x, color=COLOURS.data, lw=1, ls=(0, (5, 4)), label="the true x")
    handles, names = axes[1].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names))
    return figure


def _band(z, step=0.14, top=0.75):
    """The opacity of one of the nested bands whose shades together look like a Gaussian."""
    shade = [top * math.exp(-0.5 * u * u) if u < 2.8 + step / 2 else 0 for u in (z, z + step)]
    return 1 - (1 - shade[0]) / (1 - shade[1])
