"""Pictures of discrete data: a belief about three classes is a point in a triangle.

`flow_explorer` moves in the reader's browser, `flow_figure` is the same picture at rest;
`path_explorer`, `network_explorer` and `classes_explorer` ask the kernel.
`python -m bfn_core.views.simplex` writes assets/simplex_flow.svg.
Equation numbers are those of Graves et al., arXiv 2308.07037.
"""

import dataclasses
import functools
import io
import itertools
import math
import pathlib
import re

import matplotlib
import numpy
import torch
from matplotlib.collections import LineCollection
from plotly import graph_objects
from torch import Tensor

from bfn_core import CategoricalParameters, DiscreteFlow, ExactBFN
from bfn_core.beliefs import joined
from bfn_core.data.toy import two_letters
from bfn_core.simplex_flow import expected_entropy, flow_logits, flow_ring
from bfn_core.step_by_step import heard

from .kit import plotly_figure, style
from .kit.browser import BrowserExplorer
from .kit.explorer import choice, explore, log_slider, slider
from .kit.plotly_figure import PlotlyFigure
from .kit.style import COLOURS

NAMES = "ABC"
CORNERS = torch.tensor([[0.5, 3**0.5 / 2], [0.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
SHADES = tuple((level / 32) ** 1.25 for level in range(1, 32))  # of the flow, faintest first
HALF_AND_MOST = (0.5, 0.9)  # the shares of the flow that the two lines hold
PLAYING = 6  # seconds from t = 0 to t = 1


# The mathematics of the pictures.


def place(theta: Tensor) -> Tensor:
    """Where a belief lies in the triangle: the corners, weighted; (..., 3) -> (..., 2)."""
    return theta.double() @ CORNERS


@functools.lru_cache(maxsize=8)
def _entropy_table(classes: int) -> tuple[numpy.ndarray, numpy.ndarray]:
    """βK, and the expected entropy over ln K, close enough together to draw lines between."""
    spread = numpy.concatenate(([0.0], numpy.geomspace(1e-3, 110, 70)))
    entropy = [expected_entropy(float(s) / classes, classes) for s in spread]
    return spread, numpy.array(entropy) / math.log(classes)


def _draws(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# The triangle.


def draw_triangle(axes, names=NAMES):
    """Make `axes` a triangle whose corners are three classes."""
    x, y = torch.cat((CORNERS, CORNERS[:1])).T
    axes.plot(x, y, color=COLOURS.data, lw=1.2, zorder=3, solid_joinstyle="round")
    for corner in CORNERS:  # from each corner to the middle of the other side
        foot = (CORNERS.sum(0) - corner) / 2
        axes.plot(*zip(corner, foot, strict=True), color=COLOURS.faint, lw=0.8, zorder=2)
    for name, corner, drop in zip(names, CORNERS, ("bottom", "top", "top"), strict=True):
        gap = 0.035 if drop == "bottom" else -0.035
        axes.text(corner[0], corner[1] + gap, name, ha="center", va=drop, weight="bold",
                  zorder=1)  # below what moves: what lies above it is drawn anew each time
    axes.set(xlim=(-0.06, 1.06), ylim=(-0.13, 1.0), aspect="equal", xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _mix(share: float, colour=COLOURS.flow) -> str:
    """A colour on the way from white (0) to `colour` (1)."""
    parts = (255 + share * (int(colour[i : i + 2], 16) - 255) for i in (1, 3, 5))
    return "#" + "".join(f"{round(part):02x}" for part in parts)


def draw_flow(axes, x: int, t: float, flow: DiscreteFlow, *, beliefs: Tensor):
    """Shade the flow over the triangle, line the rings of one half and nine tenths, add beliefs.

    `beliefs` is the noise of some beliefs, (N, 3): the same noise at another t is the same belief
    moved on.
    """
    if t > 0:
        for shade in SHADES:
            ring = _thin(place(flow_ring(1 - shade, x, t, flow)))
            axes.fill(*ring.T, color=_mix(shade), lw=0, zorder=1)
        for share in HALF_AND_MOST:
            ring = _thin(place(flow_ring(share, x, t, flow)))
            axes.plot(*ring.T, color=COLOURS.flow, lw=1, zorder=2.5)
    centre, variance = flow_logits(flow, x, t)
    points = place((centre + variance.sqrt() * beliefs).softmax(-1))
    axes.plot(*points.T, ".", color=COLOURS.input, ms=4, mew=0, alpha=0.75, zorder=4)


def _thin(curve: Tensor, gap: float = 0.01) -> Tensor:
    """A curve without the points that lie nearer than `gap` to the one before."""
    kept = [curve[0]]
    for point in curve[1:]:
        if float((point - kept[-1]).norm()) > gap:
            kept.append(point)
    return torch.stack(kept)


# The flow.


def flow_explorer(*, t=0.5, beta_1=3.0, x=0, beliefs=150, seed=1):
    """The flow distribution over the triangle, to drag, in the reader's browser.

    Left, p_F(θ | x; t) (185), shaded by its density per unit of log-ratio, two lines that hold one
    half and nine tenths of it, and single beliefs. Right, the log-odds ln θ_x/θ_k, which are
    N(βK, 2βK), and the expected entropy of the belief over time.

    Args:
      t, beta_1, x: where the controls start: time, accuracy at the end, true class (0, 1 or 2).
      beliefs: how many dots there are.
      seed: of their noise; a button draws another.

    Returns:
        A `BrowserExplorer`.
    """
    if not 0 <= t <= 1:
        raise ValueError(f"t must lie between 0 and 1, but is {t}")
    if not 0.1 <= beta_1 <= 6.3:
        raise ValueError(f"beta_1 must lie between 0.1 and 6.3, but is {beta_1}")
    if x not in (0, 1, 2):
        raise ValueError(f"x must be 0, 1 or 2, but is {x}")
    settings = {
        "names": NAMES,
        "beliefs": beliefs,
        "colours": dataclasses.asdict(COLOURS),
        # Rounded, so that the page is the same on every machine.
        "entropy": [[round(float(value), 6) for value in part] for part in _entropy_table(3)],
    }
    return BrowserExplorer(
        "simplex",
        settings,
        {"t": t, "beta_1": beta_1, "x": x, "seed": seed, "measure": "log-ratio"},
        figure=flow_figure(beta_1=beta_1, x=x),
        description="The flow over three classes: drag the time, the accuracy and the true class, "
        "and watch beliefs go from the centre of the triangle to its corner.",
        height=680,
    )


def flow_figure(*, beta_1=3.0, x=0, times=(0.1, 0.25, 0.4, 0.6, 1.0), beliefs=80, seed=1):
    """The classical picture: the flow over the triangle at a few times, from centre to corner."""
    flow = DiscreteFlow(3, beta_1)
    noise = _draws(seed, beliefs, 3)
    figure, axes = style.subplots(1, len(times), size=(9, 2.25))
    for panel, t in zip(axes, times, strict=True):
        draw_triangle(panel)
        draw_flow(panel, x, t, flow, beliefs=noise)
        panel.set_title(f"t = {t:g}", loc="center", pad=2)
    return figure


def write_asset(path: pathlib.Path) -> None:
    """Write `flow_figure` as an SVG: the same bytes from the same Matplotlib."""
    title = "The flow distribution of a belief over three classes"
    words = (
        "Five triangles at growing times: beliefs start in the centre and gather in the corner of "
        "the true class."
    )
    looks = {**style.RC, "svg.hashsalt": "bfn_core", "svg.fonttype": "path"}
    drawn = io.StringIO()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # without what a matplotlibrc of one's own may ask for
        matplotlib.rcParams.update(looks)
        flow_figure().savefig(
            drawn, format="svg", metadata={"Date": None, "Title": title, "Description": words}
        )
    # A hundredth of a point is fine enough, and makes half the file.
    short = re.sub(r"([1-9]\d*\.\d\d)\d+", r"\1", drawn.getvalue())
    path.write_text(short, encoding="utf-8", newline="\n")


# One belief on its way.


@functools.lru_cache(maxsize=64)
def walk(x: tuple[int, ...], n: int, beta_1: float, seed: int) -> tuple[Tensor, Tensor]:
    """Send n messages about each of the variables x, and keep every belief.

    Returns:
        The beliefs' probabilities (n + 1, len(x), 3) and the messages (n, len(x), 3).
    """
    generator = torch.Generator().manual_seed(seed)
    said, beliefs = heard(DiscreteFlow(3, beta_1), torch.tensor([x]), n, generator=generator)
    return joined(beliefs).probs, torch.cat(said)


def _path(axes, x, beta_1):
    """Beliefs on their way from the centre to a corner, and the probabilities of the first."""
    left, right = axes
    draw_triangle(left)
    others = LineCollection([], color=COLOURS.input, lw=0.6, alpha=0.3, zorder=2)
    left.add_collection(others)
    ends = left.plot([], [], "o", color=COLOURS.input, ms=5, mew=0, alpha=0.45)[0]
    path = left.plot([], [], ".-", color=COLOURS.input, lw=1.5, ms=5, zorder=4)[0]
    step = left.plot([], [], color=COLOURS.sender, lw=3, zorder=5)[0]
    here = left.plot([], [], "o", color=COLOURS.input, ms=10, mec="white", zorder=6)[0]
    lines = []
    for name, lw, ls in zip(NAMES, (2.4, 1.6, 1.6), ("-", "--", ":"), strict=True):
        look = {"color": COLOURS.input, "lw": lw, "ls": ls, "drawstyle": "steps-post"}
        lines += right.plot([], [], label=name, **look)
    now = right.axvline(0, color=COLOURS.text, lw=1)
    right.set(xlim=(0, 1), ylim=(-0.03, 1.03), xlabel="time t", title="The probabilities it gives")
    right.legend(loc="upper left", title="class", alignment="left")
    left.set_title(f"Beliefs about the class {NAMES[x]}", pad=2)
    left.legend([path, step], ["one belief", "its last step"], loc="upper left",
                bbox_to_anchor=(-0.16, 0.98))
    pace = right.text(0.985, 0.03, "", ha="right", size=9, color=COLOURS.data)

    def show(t, n, beliefs, seed, speed):
        theta, y = walk((x,) * 25, n, beta_1, seed)
        sent = math.floor(t * n + 1e-9)
        points = place(theta[: sent + 1, :beliefs]).numpy()  # (sent + 1, beliefs, 2)
        path.set_data(*points[:, 0].T)
        step.set_data(*points[-2:, 0].T if sent else ([], []))
        here.set_data(*points[-1:, 0].T)
        others.set_segments(points[:, 1:].swapaxes(0, 1))
        ends.set_data(*points[-1, 1:].T)
        path.set_markersize(min(5, 60 / n**0.5))
        held = [*range(sent + 1), sent]  # a belief stays what it is until the next message
        for k, line in enumerate(lines):
            line.set_data([*(i / n for i in held[:-1]), t], theta[held, 0, k])
        now.set_xdata([t, t])
        count = "1 belief" if beliefs == 1 else f"{beliefs} beliefs"
        pace.set_text(f"{count}, played in {PLAYING / speed:g} s")
        return _path_caption(theta[sent, 0], y[sent - 1, 0] if sent else None, sent, n)

    return show


def path_explorer(*, beta_1=3.0, x=0):
    """Single beliefs on their way through the triangle, message by message.

    Left, the path of one belief, its last step in the sender's colour, and other beliefs about the
    same class. Right, the three probabilities of that belief over time.
    """
    controls = {
        "t": slider("time t", 0.0, 1.0, 0.6),
        "n": slider("messages n", 1, 200, 25),
        "beliefs": choice("beliefs", [1, 5, 25]),
        "seed": slider("seed of the messages", 0, 50, 4),
        "speed": choice("play", [("slow", 0.5), ("usual", 1.0), ("fast", 3.0)], 1.0),
    }
    explorer = explore(
        functools.partial(_path, x=x, beta_1=beta_1), controls, size=(9, 3.9), grid=(1, 2),
        width_ratios=(1, 1.15), play="t", seconds=PLAYING, filmed=["t", "beliefs"],
        description="Beliefs about one of three classes walk through the triangle, one step per "
        "message, from the centre to the corner of the true class.",
    )
    _set_speed(explorer, controls["speed"])
    return explorer


def _path_caption(theta, y, sent, n):
    said = " · ".join(f"{name} {p:.3f}" for name, p in zip(NAMES, theta.tolist(), strict=True))
    if y is None:
        return f"Before the first of {n} messages the belief is {said}: the centre."
    values = ", ".join(f"{value:.2f}" for value in y.tolist()).replace("-", "−")
    return (
        f"After {sent} of {n} messages the belief is <b>{said}</b>. The last message was y = "
        f"({values}): each probability was multiplied by e<sup>y</sup>, and all three divided by "
        "their sum. That is the step in orange."
    )


def _set_speed(explorer, control):
    """Let a control say how fast the explorer's player runs."""
    player = next(c for c in _descendants(explorer) if hasattr(c, "interval"))
    usual = player.interval

    def change(_):
        player.interval = max(20, round(usual / control.value))

    control.observe(change, "value")


def _descendants(box):
    for child in getattr(box, "children", ()):
        yield child
        yield from _descendants(child)


# The perfect network.


def _two_letters(axes, beta_1, n):
    """A triangle for each letter, with both distributions, and what they ask for the word."""
    flow, ways, links, heads = DiscreteFlow(3, beta_1), [], [], []
    for number, panel in zip(("first", "second"), axes[:2], strict=True):
        draw_triangle(panel)
        panel.set_title(f"The {number} letter", pad=2)
        for name, size in (("input", 13), ("output", 8)):  # where they agree, both show
            colour = getattr(COLOURS, name)
            ways += panel.plot([], [], color=colour, lw=1, alpha=0.45, zorder=4)
            heads += panel.plot([], [], "o", color=colour, ms=size, mec="white", zorder=6)
        links += panel.plot([], [], color=COLOURS.text, lw=1.2, zorder=5)
    costs = [axes[2].plot([], [], color=getattr(COLOURS, name), lw=lw,
                          label=f"the {name} distribution")[0]
             for name, lw in (("input", 3.5), ("output", 1.8))]
    now = axes[2].axvline(0, ymax=0.8, color=COLOURS.text, lw=1)  # up to the legend
    axes[2].set(xlim=(0, 1), ylim=(0, 5.6), xlabel="time t", title="Nats to name the word")
    axes[2].legend(loc="upper right")

    @functools.lru_cache(maxsize=64)
    def known(strength, letters, seed):
        """Of both distributions, (n + 1, 2, 3), and how likely they think the word, (n + 1,)."""
        theta, _ = walk(letters, n, beta_1, seed)
        exact = ExactBFN(flow, *two_letters(strength))
        both = theta, exact.output(CategoricalParameters(theta.log()), 1.0).probs
        return both, [p[:, 0, letters[0]] * p[:, 1, letters[1]] for p in both]

    def show(t, strength, word, seed):
        both, chances = known(strength, tuple(map(NAMES.index, word)), seed)
        i = round(t * n)
        for d in range(2):
            for k, probs in enumerate(both):
                points = place(probs[: i + 1, d])
                ways[2 * d + k].set_data(*points.T)
                heads[2 * d + k].set_data(*points[-1:].T)
            links[d].set_data(*place(torch.stack([probs[i, d] for probs in both])).T)
        for line, chance in zip(costs, chances, strict=True):
            line.set_data(torch.arange(n + 1) / n, -chance.log())
        now.set_xdata([t, t])
        return _network_caption(word, *(float(chance[i]) for chance in chances))

    return show


def network_explorer(*, beta_1=3.0, n=100):
    """What a perfect network knows about two correlated letters, beside what the belief says.

    A triangle for each letter: the input distribution in blue, the output distribution in green,
    both with the way they came. Right, the nats that either needs to name the word.
    """
    controls = {
        "t": slider("time t", 0.0, 1.0, 0.45),
        "strength": slider("how strongly letters agree", 0.0, 0.95, 0.8, 0.05),
        "word": choice("true word", ["AA", "AB"]),
        "seed": slider("seed of the messages", 0, 50, 3),
    }
    return explore(
        functools.partial(_two_letters, beta_1=beta_1, n=n), controls, size=(9.2, 3.4),
        grid=(1, 3), width_ratios=(1, 1, 1.05), play="t", filmed=["t", "word"],
        description="Two triangles, one per letter: the output distribution of a perfect network "
        "runs ahead of the input distribution, because it knows that the letters agree.",
    )


def _network_caption(word, input_chance, output_chance):
    nats = math.log(output_chance / input_chance)
    effect = f"{'saves' if nats > 0 else 'costs it'} <b>{abs(nats):.2f} nats</b> here."
    if abs(nats) < 0.005:
        effect = "makes no difference here."
    return (
        f"The belief alone gives the word {word} the probability <b>{input_chance:.3f}</b>; the "
        f"network, which reads both letters together, <b>{output_chance:.3f}</b>. What it knows of "
        f"how letters go together {effect}"
    )


# Four classes: the last simplex that can be seen.

FOUR = "ABCD"
PEAKS = torch.tensor(  # a regular tetrahedron with sides of 1 around (0, 0, 0), A on top
    [[0.0, 0.0, 6**0.5 / 4]]
    + [[math.cos(a) / 3**0.5, math.sin(a) / 3**0.5, -(6**0.5) / 12]
       for a in (math.pi * 7 / 6, math.pi * 11 / 6, math.pi / 2)],
    dtype=torch.float64,
)
VIEW_FROM = (-75, 16)  # where the eye stands: degrees around the tetrahedron, and above it


def place_in_tetrahedron(theta: Tensor) -> Tensor:
    """Where a belief lies in the tetrahedron: the corners, weighted; (..., 4) -> (..., 3)."""
    return theta.double() @ PEAKS


@functools.lru_cache(maxsize=4)
def walk_of_four(*, beliefs=100, n=30, beta_1=4.0, seed=2) -> tuple[Tensor, Tensor]:
    """Send n messages about each of many variables of four classes, drawn at random.

    Unlike `walk` it computes in double precision, so that its digits are those of every machine.

    Returns:
        The classes (beliefs,) and the beliefs at t = 0, 1/n … 1, (n + 1, beliefs, 4).
    """
    flow = DiscreteFlow(4, beta_1)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(4, (beliefs,), generator=generator)
    time = torch.arange(n + 1, dtype=torch.float64) / n
    accuracies = flow.schedule.beta(time).diff()
    alphas = [alpha.expand(beliefs) for alpha in accuracies]
    return x, torch.stack([theta.probs for theta in heard(flow, x, alphas, generator=generator)[1]])


def tetrahedron(*, beliefs=100, n=30, beta_1=4.0, seed=2, t=0.4):
    """Beliefs about four classes on their way through a tetrahedron, to turn and to play.

    Every frame is one more message (171) about each of the variables; a dot's colour is the true
    class. Of one belief for each class the way so far is drawn as a line.

    Args:
      beliefs, n, beta_1, seed: as in `walk_of_four`.
      t: the time at which the figure stands at first.

    Returns:
        A `PlotlyFigure`.
    """
    x, ways = walk_of_four(beliefs=beliefs, n=n, beta_1=beta_1, seed=seed)
    first, line = round(t * n), {"color": COLOURS.data, "width": 2}
    way, dots = _beliefs_of_four(x, ways, first)
    way.update(mode="lines", line=line, hoverinfo="skip")
    dots.update(mode="markers", marker={"size": 4, "color": [COLOURS.classes[k] for k in x],
                                        "line": {"width": 0}})
    edges = [PEAKS[[a, b]] for a in range(4) for b in range(a)]
    frame = graph_objects.Scatter3d(_lines(edges), mode="lines", line={**line, "width": 3},
                                    hoverinfo="skip")
    names = graph_objects.Scatter3d(
        _xyz(PEAKS * 1.16), mode="text", text=list(FOUR),
        textfont={"size": 18, "color": list(COLOURS.classes[:4])}, hoverinfo="skip",
    )
    around, above = (math.radians(angle) for angle in VIEW_FROM)
    eye = (math.cos(around) * math.cos(above), math.sin(around) * math.cos(above), math.sin(above))
    hidden = {"visible": False, "showspikes": False}
    side = {axis: {**hidden, "range": [-0.7, 0.7]} for axis in ("xaxis", "yaxis")}
    side["zaxis"] = {**hidden, "range": [-0.5, 0.9]}  # as long: the sides stay equal
    steps = [f"{i / n:.2f}" for i in range(n + 1)]
    figure = plotly_figure.new(
        [way, dots, frame, names],
        frames=[graph_objects.Frame(data=_beliefs_of_four(x, ways, i), traces=[0, 1], name=name)
                for i, name in enumerate(steps)],
        height=560,
        showlegend=False,
        scene={**side, "aspectmode": "cube", "dragmode": "turntable",
               "camera": {"eye": dict(zip("xyz", (1.35 * part for part in eye), strict=True)),
                          "center": {"x": 0, "y": 0, "z": 0.02}}},
        **plotly_figure.player(steps, first, prefix="time t = ", milliseconds=180),
    )
    return PlotlyFigure(
        figure,
        tetrahedron_at_rest(x, ways, (round(0.2 * n), round(0.4 * n), round(0.7 * n), n)),
        "Beliefs about four classes in a tetrahedron: they spread from its centre over its faces "
        "and edges, and end in the corners of their true classes, about as many in each.",
    )


def _xyz(points: Tensor) -> dict:
    """Points (N, 3) as a trace has them."""
    return dict(zip("xyz", points.T.numpy(), strict=True))


def _lines(parts) -> dict:
    """Several lines as one trace: what is no number ends each."""
    gap = torch.full((1, 3), math.nan, dtype=torch.float64)
    return _xyz(torch.cat([p for part in parts for p in (part, gap)]))


def _beliefs_of_four(x: Tensor, ways: Tensor, i: int) -> list:
    """Two traces, after i messages: the way of one belief for each class, and dots for all."""
    told = [int((x == k).nonzero()[0]) for k in range(4)]
    words = "".join(f"{name} %{{customdata[{k}]:.3f}}<br>" for k, name in enumerate(FOUR))
    words += f"t = {i / (len(ways) - 1):.2f}<extra></extra>"
    return [
        graph_objects.Scatter3d(_lines([place_in_tetrahedron(ways[: i + 1, j]) for j in told])),
        graph_objects.Scatter3d(_xyz(place_in_tetrahedron(ways[i])), customdata=ways[i].numpy(),
                                hovertemplate=words),
    ]


def tetrahedron_at_rest(x: Tensor, ways: Tensor, steps: tuple[int, ...]):
    """The beliefs of `walk_of_four` after some numbers of messages, one tetrahedron each."""
    figure, axes = style.subplots(
        1, len(steps), size=(9, 2.7), subplot_kw={"projection": "3d"}
    )
    for panel, i in zip(axes, steps, strict=True):
        for a, b in itertools.combinations(range(4), 2):
            width, dashes = (0.6, "--") if b == 3 else (1.2, "-")  # D is behind
            panel.plot(*PEAKS[[a, b]].T, color=COLOURS.data, lw=width, ls=dashes)
        colours = [COLOURS.classes[k] for k in x]
        points = place_in_tetrahedron(ways[i])
        panel.scatter(*points.T, c=colours, s=9, lw=0, depthshade=False)
        for name, corner, colour in zip(FOUR, 1.16 * PEAKS, COLOURS.classes, strict=False):
            if name == FOUR[-1]:  # seen from the front it would lie on the points of its corner
                corner = corner + torch.tensor([0.08, 0.0, 0.08])
            panel.text(*corner, name, color=colour, weight="bold", ha="center", va="center")
        around, above = VIEW_FROM
        panel.view_init(elev=above, azim=around)
        panel.set(xlim=(-0.5, 0.5), ylim=(-0.5, 0.5), zlim=(-0.45, 0.55))
        panel.set_box_aspect((1, 1, 1), zoom=1.3)
        panel.set_axis_off()
        panel.text2D(0.5, -0.02, f"t = {i / (len(ways) - 1):.1f}", transform=panel.transAxes,
                     ha="center")
    return figure


# More classes.

COUNTS = (2, 3, 27, 256)


def _one_belief(axes):
    """A belief as bars, and the true class."""
    bars = axes.stairs([0], [0, 1], fill=True, color=COLOURS.input, label=style.LABELS.input)
    truth = axes.plot([], [], "v", color=COLOURS.data, ms=9, label="the true class")[0]
    axes.set(xlim=(0, 1), ylim=(0, 1.1), yticks=[0, 0.25, 0.5, 0.75, 1], xticks=[],
             xlabel="the classes", ylabel="probability")
    axes.grid(False, axis="x")
    axes.legend(loc="upper right")

    def show(flow, x, t, seed):
        centre, variance = flow_logits(flow, x, t)
        theta = (centre + variance.sqrt() * _draws(seed, flow.classes)).softmax(-1).numpy()
        bars.set_data(theta, numpy.linspace(0, 1, flow.classes + 1))
        truth.set_data([(x + 0.5) / flow.classes], [theta[x] + 0.045])
        return theta[x]

    return show


def _unknown(axes):
    """The share of ln K that is still unknown, over time, for every K."""
    times = numpy.linspace(0, 1, 161)
    lines = [axes.plot([], [], color=COLOURS.input)[0] for _ in COUNTS]
    names = [axes.text(0, 0, f"{k}", color=COLOURS.input, size=9, ha="center", va="center",
                       bbox={"fc": "white", "ec": "none", "pad": 1}) for k in COUNTS]
    now = axes.axvline(0, color=COLOURS.text, lw=1)
    here = axes.plot([], [], "o", color=COLOURS.input, ms=9, mec="white")[0]
    axes.set(xlim=(0, 1), ylim=(0, 1.06), xlabel="time t", title="Share of ln K still unknown")

    def show(classes, t, beta_1):
        for i, (k, line, name) in enumerate(zip(COUNTS, lines, names, strict=True)):
            spread, share = _entropy_table(k)
            curve = numpy.interp(k * DiscreteFlow(k, beta_1).beta(1.0) * times**2, spread, share)
            chosen = k == classes
            line.set(data=(times, curve), linewidth=2.6 if chosen else 1, zorder=3 if chosen else 2)
            height = (0.68, 0.36, 0.5, 0.5)[i]  # the curves of 2 and 3 run close together
            spot = min(int(numpy.argmax(curve < height)) or 160, 116 + 12 * i)
            name.set(position=(times[spot], curve[spot]), weight="bold" if chosen else "normal")
            if chosen:
                here.set_data([t], [numpy.interp(t, times, curve)])
        now.set_xdata([t, t])

    return show


def _classes(axes):
    """Both panels of `classes_explorer`."""
    show_belief, show_unknown = _one_belief(axes[0]), _unknown(axes[1])

    def show(classes, t, beta_1, seed):
        flow = DiscreteFlow(classes, beta_1)
        show_unknown(classes, t, beta_1)
        return _classes_caption(flow, t, show_belief(flow, classes // 4, t, seed))

    return show


def classes_explorer(*, beta_1=3.0):
    """One belief over K classes as bars, and the expected entropy over time for several K.

    Left, one belief at time t, the true class marked. Right, the share of ln K that is still
    unknown on average, for K = 2, 3, 27 and 256 at the same β(1).
    """
    controls = {
        "t": slider("time t", 0.0, 1.0, 0.18),
        "classes": choice("classes K", COUNTS, 27),
        "beta_1": log_slider("β(1)", 0.02, 20, beta_1),
        "seed": slider("seed of the belief", 0, 50, 2),
    }
    return explore(
        _classes, controls, size=(9, 3.5), grid=(1, 2), width_ratios=(1.1, 1), play="t",
        filmed=["t", "classes"],
        description="One belief as bars, and how fast beliefs over 2, 3, 27 and 256 classes settle "
        "at the same accuracy: the more classes, the sooner.",
    )


def _classes_caption(flow, t, chance):
    classes, beta = flow.classes, flow.beta(t)
    rivals = "its rival" if classes == 2 else f"each of its {classes - 1} rivals"
    return (
        f"Against {rivals} the true class stands at log-odds <b>{classes * beta:.2f} ± "
        f"{math.sqrt(2 * classes * beta):.2f}</b>. This belief gives it <b>{chance:.3f}</b>; on "
        f"average <b>{expected_entropy(beta, classes):.3f}</b> of ln {classes} = "
        f"{math.log(classes):.3f} nats are still unknown."
    )


if __name__ == "__main__":
    target = pathlib.Path(__file__).resolve().parents[2] / "assets" / "simplex_flow.svg"
    target.parent.mkdir(exist_ok=True)
    write_asset(target)
    print(f"{target.name}: {target.stat().st_size / 1000:.0f} kB")
