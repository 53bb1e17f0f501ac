"""Pictures of graphs whose edges fade in, and of molecules that are told on two clocks."""

import math
from typing import Any

import torch
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from plotly import graph_objects
from torch import Generator, Tensor

from bfn_core.data.molecules import SCALE, Bent, Molecules, draw_molecule, measured
from bfn_core.data.trees import TREE_FLOW, is_tree, pairs, shape_of
from bfn_core.exact import ExactBFN
from bfn_core.flows import DiscreteFlow
from bfn_core.model import BFN
from bfn_core.views.kit import plotly_figure, style
from bfn_core.views.kit.explorer import choice, explore, slider
from bfn_core.views.kit.plotly_figure import PlotlyFigure
from bfn_core.views.kit.style import COLOURS

# Trees.


def _circle(nodes: int) -> Tensor:
    """Where nodes stand, (n, 2): on a circle, the first on top, clockwise."""
    angle = torch.arange(nodes) * (2 * math.pi / nodes)
    return torch.stack([angle.sin(), angle.cos()], 1)


class _Graph:
    """A graph in a panel: every pair of nodes is a line, as dark as it is likely."""

    def __init__(self, axis, nodes: int, colour: str, title: str, size: float = 110) -> None:
        self.colour, spots = colour, _circle(nodes)
        segments = [(spots[i].tolist(), spots[j].tolist()) for i, j in pairs(nodes).T]
        self.lines = axis.add_collection(LineCollection(segments, lw=4, capstyle="round"))
        self.nodes = axis.scatter(*spots.T, s=size, color=COLOURS.text, zorder=3)
        axis.set(xlim=(-1.25, 1.25), ylim=(-1.25, 1.25), aspect="equal")
        axis.set_title(title, loc="center", color=colour)
        axis.set_axis_off()

    def set(self, chance: Tensor) -> None:
        """`chance` of each edge, (E,)."""
        self.lines.set_color([(*to_rgb(self.colour), float(p)) for p in chance.clamp(0, 1)])


def tree_explorer(networks: dict[str, BFN], x: Tensor, *, flow: DiscreteFlow = TREE_FLOW):
    """A tree is told; beside the belief, what a network makes of it.

    Args:
        networks: by name.
        x: trees, (N, E).
        flow: of the edges.
    """

    def picture(axes):
        looks = zip(axes, (COLOURS.data, COLOURS.input, COLOURS.output),
                    ("the tree", "belief θ", "the network's guess"), strict=True)
        told, belief, guess = (_Graph(axis, 6, colour, title) for axis, colour, title in looks)

        def show(t, tree, network):
            edges = x[tree : tree + 1]
            theta = flow.sample_flow(edges, t, Generator().manual_seed(tree))
            with torch.no_grad():
                output = networks[network].output(theta, t)
            told.set(edges[0].float())
            belief.set(theta.probs[0, :, 1])
            guess.set(output.probs[0, :, 1])
            kinds = ["a tree" if is_tree(e)[0] else "no tree"
                     for e in (theta.logits.argmax(-1), output.mode)]
            wrong = [int((e != edges).sum()) for e in (theta.logits.argmax(-1), output.mode)]
            return (f"The likeliest graph by the belief alone is <b>{kinds[0]}</b> with {wrong[0]} "
                    f"of 15 pairs wrong, by the network's guess <b>{kinds[1]}</b> with {wrong[1]} "
                    "wrong.")

        return show

    controls = {
        "t": slider("time t", 0.0, 1.0, 0.3, 0.02),
        "tree": slider("which tree", 0, len(x) - 1, 777),
        "network": choice("network", list(networks)),
    }
    description = ("Three graphs on six nodes in a circle: a tree, the belief about its edges, "
                   "which fade in, and a network's guess, which is clear earlier.")
    return explore(
        picture, controls, size=(8.2, 3.2), grid=(1, 3), play="t", description=description,
    )


def shapes_figure(x: Tensor, counts: dict[str, Tensor]):
    """The shapes of trees on six nodes, and how often each comes.

    Args:
        x: all trees, (N, E).
        counts: by name, of samples of each shape in the order of `shape_of`.
    """
    found = shape_of(x)
    kinds = found.unique()
    figure, axes = style.subplots(2, len(kinds), size=(8.4, 3.6), height_ratios=(1, 1.3))
    colours = (COLOURS.data, COLOURS.output, COLOURS.other)
    for column, kind in enumerate(kinds):
        example = x[(found == kind).nonzero()[0, 0]]
        share = (found == kind).double().mean()
        _Graph(axes[0, column], 6, COLOURS.data, "", size=26).set(example.float())
        axis = axes[1, column]
        rows = {"all trees": share, **{n: c[column] / c.sum() for n, c in counts.items()}}
        for place, (value, colour) in enumerate(zip(rows.values(), colours, strict=False)):
            total = sum(counts[n].sum() for n in list(rows)[place : place + 1] if n in counts)
            value = float(value)
            error = 2 * math.sqrt(value * (1 - value) / total) if total else None
            axis.bar(place, value, color=colour, width=0.8, yerr=error, capsize=2,
                     label=list(rows)[place])
        axis.set(ylim=(0, 0.32), xticks=[])
        axis.set_title(f"{int((found == kind).sum())} of {len(x):,}", fontsize=9, loc="center")
        if column:
            axis.set_yticklabels([])
    axes[1, 0].set_ylabel("share")
    figure.legend(*axes[1, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def networks_figure(rows: dict[str, dict[str, tuple[float, float]]], floor: float):
    """Two panels of dots with two standard errors: the bill, and the share of trees.

    Args:
        rows: by network, {"bill": (nats, error), "trees": (share, error)}.
        floor: the entropy, in nats.
    """
    figure, axes = style.subplots(1, 2, size=(8.0, 0.9 + 0.34 * len(rows)), sharey=True)
    for axis, what, line, label in zip(
        axes, ("bill", "trees"), (floor, 1.0),
        ("nats per tree (dotted: ln 1296)", "share of samples that are trees, 20 messages"),
        strict=True,
    ):
        for place, row in enumerate(rows.values()):
            value, error = row[what]
            axis.errorbar(value, place, xerr=2 * error, fmt="o", color=COLOURS.output, capsize=3)
            axis.annotate(f"{value:.2f}", (value, place), (0, 6), textcoords="offset points",
                          ha="center", fontsize=9,
                          bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})
        axis.axvline(line, color=COLOURS.data, ls=":", lw=1.4)
        axis.set(xlabel=label)
        axis.margins(0.12, 0.25)
    axes[0].set_yticks(range(len(rows)), list(rows))
    axes[0].invert_yaxis()
    return figure


# Two clocks.

PATH_COLOURS = (COLOURS.input, COLOURS.sender, COLOURS.receiver, COLOURS.output)


def _map(axis, times: Tensor, surface: Tensor):
    """The surface with lines of equal bill; returns what a colour bar needs."""
    levels = torch.linspace(0, float(surface.max()), 12)
    shown = axis.contourf(times, times, surface, levels=levels, cmap="Blues", alpha=0.85)
    axis.contour(times, times, surface, levels=levels, colors="white", linewidths=0.6)
    axis.set(xlabel="time of the places", ylabel="time of the kinds", aspect="equal")
    axis.grid(False)
    return shown


def paths_figure(
    times: Tensor, surface: Tensor, ways: dict[str, tuple[Tensor, Tensor]],
    bills: dict[str, tuple[float, float]], entropy: float,
):
    """The bill as a map over two clocks, ways through it, and what each pays.

    Args:
        times, surface: as for `told_so_far`.
        ways: by name, times of the kinds and of the places, (U,) each.
        bills: by name, what the messages about kinds and those about places cost.
        entropy: ln N.
    """
    figure, axes = style.subplots(1, 2, size=(8.8, 3.6), width_ratios=(1, 1.25))
    bar = figure.colorbar(_map(axes[0], times, surface), ax=axes[0], label="nats told so far")
    bar.ax.yaxis.set_major_formatter("{x:.1f}")
    for place, ((name, (kinds, places)), colour) in enumerate(
        zip(ways.items(), PATH_COLOURS, strict=False)
    ):
        axes[0].plot(places, kinds, color=colour, lw=3, label=name)
        one, other = bills[name]
        axes[1].barh(place, one, color=colour, height=0.6)
        axes[1].barh(place, other, left=one, color=colour, alpha=0.45, height=0.6)
        axes[1].text(1.04 * entropy, place, f"{one:.2f} + {other:.2f}", va="center", fontsize=9)
    axes[1].axvline(entropy, color=COLOURS.data, ls=":", lw=1.4)
    axes[1].set_yticks(range(len(ways)), list(ways))
    axes[1].invert_yaxis()
    axes[1].grid(False, axis="y")
    axes[1].set(xlabel="nats for kinds (dark) and places (pale)",
                xlim=(0, 1.32 * entropy))
    return figure


def clocks_figure(rows: dict[str, dict[str, tuple[float, float]]], floor: float):
    """Bills with few messages, by the number of messages: one line for each path.

    Args:
        rows: by path, by the number of messages as a word, (nats, standard error).
        floor: what the perfect network pays with infinitely many.
    """
    figure, axis = style.subplots(size=(6.4, 3.2))
    for (name, row), colour, mark in zip(rows.items(), PATH_COLOURS, "osD^", strict=False):
        values = list(row.values())
        axis.errorbar(range(len(row)), [v for v, _ in values], [2 * e for _, e in values],
                      fmt=mark + "-", color=colour, capsize=3, label=name, ms=6)
    axis.axhline(floor, color=COLOURS.data, ls=":", lw=1.4)
    axis.set_xticks(range(len(row)), list(row))
    axis.set(xlabel="messages", ylabel="nats for all messages")
    axis.legend()
    return figure


# Molecules.

ELEMENTS = {  # covalent radius in ångström (Cordero et al. 2008) and colour
    "H": (0.31, "#D9D9D9"), "Li": (1.28, "#8C6BB1"), "Be": (0.96, "#7FBF7B"),
    "B": (0.84, "#F4A6C0"), "C": (0.76, COLOURS.data), "N": (0.71, COLOURS.input),
    "O": (0.66, COLOURS.sender), "F": (0.57, COLOURS.flow), "Na": (1.66, "#5E4FA2"),
    "Al": (1.21, "#A6A6A6"), "Si": (1.11, "#B8A200"), "P": (1.07, COLOURS.receiver),
    "S": (1.05, COLOURS.other), "Cl": (1.02, COLOURS.output),
}
class Look:
    """How atoms of uncertain kind look: what `Molecules.symbols` are, as colours and sizes."""

    def __init__(self, symbols: tuple[str, ...]) -> None:
        self.symbols = symbols
        self.radii = torch.tensor([0.0, *(ELEMENTS[s][0] for s in symbols[1:])])
        self.colours = torch.tensor([to_rgb(ELEMENTS[s][1]) for s in symbols[1:]])

    def colour(self, chance: Tensor) -> Tensor:
        """Mixed by the chances of the elements (A, K), with 1 − p(no atom) as the fourth."""
        atom = chance[:, 1:].float()
        there = atom.sum(1, keepdim=True)
        return torch.cat([atom @ self.colours / there.clamp(min=1e-9), there], 1).clamp(0, 1)

    def radius(self, chance: Tensor) -> Tensor:
        """The expected covalent radius, (A,)."""
        return chance.float() @ self.radii

    def bonds(self, chance: Tensor, places: Tensor) -> list[tuple[int, int]]:
        """Pairs of atoms, nine tenths sure to be there, that are as near as bound atoms are."""
        sure, radius = chance[:, 0] < 0.1, self.radius(chance)
        near = torch.cdist(places.double(), places.double()) < 1.25 * (radius + radius[:, None])
        both = torch.triu(near & sure & sure[:, None], 1)
        return [(int(i), int(j)) for i, j in both.nonzero()]


def turned(places: Tensor, degrees: float) -> Tensor:
    """Places (A, 3), turned around the upright axis: across, up, and towards the reader."""
    a = math.radians(degrees)
    x, y, z = places.unbind(-1)
    return torch.stack([x * math.cos(a) + z * math.sin(a), y, z * math.cos(a) - x * math.sin(a)], 1)


class _Atoms:
    """Atoms in a panel, the nearest drawn last."""

    def __init__(self, axis, atoms: int, title: str, colour: str, *, names: bool = False) -> None:
        none = torch.zeros(atoms)
        self.dots = axis.scatter(none, none, lw=0.6, edgecolors="white")
        self.bonds = axis.add_collection(LineCollection([], color="#9A9A9A", lw=2.5, zorder=0.5))
        self.words = [axis.text(0, 0, "", ha="center", va="center", fontsize=8, zorder=3)
                      for _ in range(atoms if names else 0)]
        axis.set(xlim=(-3.3, 3.3), ylim=(-3.3, 3.3), aspect="equal", xticks=[], yticks=[])
        axis.grid(False)
        axis.set_title(title, loc="center", color=colour)

    @property
    def artists(self) -> list:
        return [self.dots, self.bonds, *self.words]

    def set(self, places: Tensor, radius: Tensor, colours: Tensor, bonds=(), words=()) -> None:
        """places (A, 3) as `turned` gives them, radius (A,) in ångström, colours (A, 4)."""
        order = places[:, 2].argsort()
        self.dots.set_offsets(places[order, :2].numpy())
        self.dots.set_sizes((28 * radius[order]).square().numpy())  # 28 points an ångström
        self.dots.set_facecolors(colours[order].numpy())
        self.bonds.set_segments([places[[i, j], :2].numpy() for i, j in bonds])
        dark = colours[:, :3] @ torch.tensor([0.3, 0.59, 0.11]) < 0.55
        for text, word, place, pale in zip(self.words, words, places, dark, strict=False):
            text.set(position=(float(place[0]), float(place[1])), text=word,
                     color="white" if pale else COLOURS.text)


SHOWN = ("C6H6", "CH3CH2OH", "CH3CONH2", "C5H8", "SiCl4", "NaCl")


def molecule_explorer(bfn: ExactBFN, molecules: Molecules, times: Tensor, surface: Tensor):
    """A real molecule is told, its kinds by one clock and its places by another.

    Args:
        bfn: the perfect network, places in units of `SCALE`.
        molecules: that it knows.
        times, surface: as for `told_so_far`.
    """

    def picture(axes):
        atoms, look = molecules.kinds.shape[1], Look(molecules.symbols)
        belief = _Atoms(axes[0], atoms, "belief", COLOURS.input)
        guess = _Atoms(axes[1], atoms, "the perfect network's guess", COLOURS.output, names=True)
        _map(axes[2], times, surface)
        (point,) = axes[2].plot([0], [0], "o", color=COLOURS.sender, ms=10, mec="white")
        axes[2].set_title("nats told so far", loc="center")

        def show(molecule, places, kinds, turn):
            index = molecules.names.index(molecule)
            theta = _beliefs(bfn, index, kinds, places)
            posterior, output = bfn.posterior(theta)[0], bfn.output(theta, 0.5)
            where, chance = output["places"].mean[0] * SCALE, output["kinds"].probs[0]
            spread = SCALE * float(theta["places"].precision) ** -0.5
            blur = torch.full((atoms,), max(0.2, spread))
            colours = look.colour(theta["kinds"].probs[0])
            colours[:, 3] *= 0.4 + 0.5 * (0.2 / blur)
            belief.set(turned(theta["places"].mean[0] * SCALE, turn), blur, colours)
            words = [molecules.symbols[k] if p > 0.5 else ""
                     for p, k in zip(*(v.tolist() for v in chance.max(1)), strict=True)]
            guess.set(turned(where, turn), look.radius(chance), look.colour(chance),
                      look.bonds(chance, where), words)
            point.set_data([places], [kinds])
            nearest = [(times - t).abs().argmin() for t in (kinds, places)]
            so_far = float(surface[nearest[0], nearest[1]])
            top = int(posterior.argmax())
            return (f"So far messages have told <b>{so_far:.2f}</b> nats, on average over "
                    f"molecules, of {bfn.entropy():.2f}. From these the likeliest molecule is "
                    f"<b>{molecules.names[top]}</b> ({100 * float(posterior[top]):.0f} %).")

        return show

    names = [name for name in SHOWN if name in molecules.names] or list(molecules.names)
    controls = {
        "molecule": choice("molecule", names),
        "places": slider("time of the places", 0.0, 1.0, 0.3, 0.05),
        "kinds": slider("time of the kinds", 0.0, 1.0, 0.3, 0.05),
        "turn": slider("turn it", 0, 350, 30, 10),
    }
    description = ("The belief about a molecule as blurred dots of mixed colour, the perfect "
                   "network's guess as atoms with letters and bonds, and a map of the bill over "
                   "the two times with a dot where the sliders stand.")
    return explore(
        picture, controls, size=(9.4, 3.7), grid=(1, 3), filmed=["places", "kinds"],
        description=description,
    )


def _beliefs(bfn: ExactBFN, index: int, kinds: float, places: float) -> dict[str, Any]:
    """θ about one point, its kinds told until one time and its places until another."""
    times = {"kinds": kinds, "places": places}
    return {
        name: flow.sample_flow(bfn.data[name][index : index + 1], times[name],
                               Generator().manual_seed(index + len(name)))
        for name, flow in bfn.flow.flows.items()
    }


def molecule_film(bfn: ExactBFN, molecules: Molecules, *, n: int = 40, seed: int = 0, t=0.1):
    """A molecule comes out of noise, to turn and to play: a `PlotlyFigure`.

    Args:
        bfn: the perfect network, places in units of `SCALE`.
        molecules: that it knows.
        n: messages.
        seed: of the sample.
        t: the time at which the figure stands at first.
    """
    way, look = draw_molecule(bfn, n=n, seed=seed), Look(molecules.symbols)

    def moving(i):
        chance, places, noise = way[i]
        ends = [p for a, b in look.bonds(chance, places) for p in (places[a], places[b], _GAP)]
        bonds = torch.stack(ends) if ends else _GAP.unsqueeze(0)
        colours = look.colour(chance)
        words = [(molecules.symbols[k] or "no atom") if p > 0.5 else "undecided"
                 for p, k in zip(*(v.tolist() for v in chance.max(1)), strict=True)]
        atoms = {"size": (4 + 30 * look.radius(chance)).numpy(), "line": {"width": 0},
                 "color": [_css(c) for c in colours]}
        return [
            graph_objects.Scatter3d(_xyz(bonds)),
            graph_objects.Scatter3d(_xyz(places), marker=atoms, text=words),
            graph_objects.Scatter3d(_xyz(noise)),
        ]

    first = round(t * n)
    bonds, atoms, noise = moving(first)
    bonds.update(mode="lines", line={"color": "#9A9A9A", "width": 7}, hoverinfo="skip")
    atoms.update(mode="markers", hovertemplate="%{text}<extra></extra>")
    noise.update(mode="markers", hoverinfo="skip",
                 marker={"size": 3, "color": COLOURS.input, "opacity": 0.5})
    hidden = {"visible": False, "showspikes": False, "range": [-2.6, 2.6]}
    names = [f"{i / n:.2f}" for i in range(n + 1)]
    figure = plotly_figure.new(
        [bonds, atoms, noise],
        frames=[graph_objects.Frame(data=moving(i), traces=[0, 1, 2], name=name)
                for i, name in enumerate(names)],
        height=520, showlegend=False,
        scene={"xaxis": hidden, "yaxis": hidden, "zaxis": hidden, "aspectmode": "cube",
               "dragmode": "turntable", "camera": {"eye": {"x": 0.7, "y": 0.9, "z": 0.5}}},
        **plotly_figure.player(names, first, prefix="time t = ", milliseconds=140),
    )
    return PlotlyFigure(
        figure, molecule_strip(way, look),
        "A molecule comes out of noise: at first a grey cloud of undecided atoms in the middle, "
        "then elements and places become clear together, with small dots for the belief.",
    )


_GAP = torch.full((3,), math.nan)


def _xyz(points: Tensor) -> dict[str, Any]:
    return dict(zip("xyz", points.double().T.numpy(), strict=True))


def _css(colour: Tensor) -> str:
    red, green, blue = (round(255 * float(part)) for part in colour[:3])
    return f"rgba({red},{green},{blue},{float(colour[3]):.2f})"


def molecule_strip(way: list[tuple[Tensor, ...]], look: Look, times=(0.02, 0.1, 0.2, 0.5, 1.0)):
    """The same at rest: the guess at some times, from noise to molecule."""
    figure, axes = style.subplots(1, len(times), size=(9.4, 2.2))
    for t, axis in zip(times, axes, strict=True):
        i = round((len(way) - 1) * t)
        chance, places, noise = way[i]
        view = _Atoms(axis, len(places), f"t = {i / (len(way) - 1):.2f}", COLOURS.text, names=True)
        words = [look.symbols[k] if p > 0.5 else ""
                 for p, k in zip(*(v.tolist() for v in chance.max(1)), strict=True)]
        view.set(turned(places, 75), 0.65 * look.radius(chance), look.colour(chance),
                 look.bonds(chance, places), words)
        dots = turned(noise, 75)
        axis.scatter(dots[:, 0], dots[:, 1], s=4, color=COLOURS.input, alpha=0.6, lw=0, zorder=0.2)
        axis.set(xlim=(-2.8, 2.8), ylim=(-2.8, 2.8))
        axis.set_axis_off()
    return figure


# Molecules of three atoms.


def bent_figure(samples: dict[str, dict[str, Tensor]], family: Bent):
    """Histograms of bond lengths and angles of samples, of the first filled; dotted, the values
    that the law allows.
    """
    figure, axes = style.subplots(1, 2, size=(8.4, 3.0))
    a, b = family.radii
    allowed = {"bonds": (2 * a, a + b, 2 * b), "angle": family.angles}
    for axis, what, label in zip(axes, allowed, ("bond length", "angle in degrees"), strict=True):
        low, high = ((0.3, 0.8), (80, 180))[axis is axes[1]]
        for (name, x), colour in zip(samples.items(), (COLOURS.data, COLOURS.output), strict=True):
            values = measured(x)[what].flatten().float()
            counts = torch.histc(values, 50, low, high) / len(values)
            edges = torch.linspace(low, high, 51)
            axis.stairs(counts.numpy(), edges.numpy(), color=colour, lw=1.6, label=name,
                        fill=colour == COLOURS.data, alpha=0.45 if colour == COLOURS.data else 1)
        for value in allowed[what]:
            axis.axvline(value, color=COLOURS.text, ls=":", lw=1)
        axis.set(xlabel=label, ylabel="share")
    axes[1].legend(loc="upper right")
    return figure
