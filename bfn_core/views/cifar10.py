"""Pictures of photographs: what messages and guesses look like, and where the bits go.

Images are (N, 3, H, W) with values in [−1, 1]; the models are those of discretised data.
"""

import io
import math
from functools import partial

import torch
from matplotlib.patches import Rectangle
from matplotlib.ticker import NullFormatter
from PIL import Image
from torch import Tensor

from bfn_core.data import to_bytes
from bfn_core.photographs import BIT, Walk, by_contrast, from_the_end, levels
from bfn_core.training.evaluation import grid

from .kit import style
from .kit.explorer import Explorer, at_rest, choice, explore, slider
from .kit.records import Series, chart
from .kit.style import COLOURS

CHANNELS = {"red": "#B5202A", "green": "#3B8132", "blue": "#2B4FA2"}


def picture(x: Tensor):
    """Images (N, 3, H, W) as one array (height, width, 3) of bytes, near a square of tiles."""
    pixels = to_bytes(x.detach().cpu())
    sheet = pixels[0] if len(pixels) == 1 else grid(pixels, gap=1)[:, :-1, :-1]
    return sheet.permute(1, 2, 0).numpy()


def _show(axis, image, title="", **options):
    axis.set(xticks=[], yticks=[], title=title)
    axis.grid(False)
    for spine in axis.spines.values():
        spine.set_visible(False)
    return axis.imshow(image, interpolation="nearest", **options)


# A conversation about some images --------------------------------------------------------------


def _strength(walk: Walk, t: float) -> float:
    """By how much a difference is enlarged for a picture: noise of three deviations is full."""
    return 1 / min(1.0, 3 * walk.doubt(t))


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 9.95 else f"{value:.1f}" if value >= 0.095 else f"{value:.2f}"


def _time_and_photo(walk: Walk, names: dict[str, int], t: float) -> dict:
    """The controls of an explorer that shows one of the photos at one of the walk's times."""
    return {
        "t": slider("time t", 0.0, 1.0, t, 1 / (len(walk.times) - 1), width=300),
        "photo": choice("photo", list(names.items())),
    }


def _flow(axes, walk: Walk, titles=("", "", "")):
    """Belief, guess and enlarged difference, on the last three axes; on the first of four, x."""
    grey = picture(torch.zeros_like(walk.x[:1]))
    shown = [_show(axis, grey, title) for axis, title in zip(axes, titles, strict=True)]
    axes[0].figure.get_layout_engine().set(wspace=0.04)

    def show(t: float, photo: int) -> str:
        x, index, strength = walk.x[photo], walk.at(t), _strength(walk, t)
        guess, naming = walk.guesses[index, photo], float(walk.naming[index, photo].mean())
        views = (x, walk.beliefs[index, photo], guess, (x - guess) * strength)
        for image, view in zip(shown, views[-len(shown) :], strict=True):
            image.set_data(picture(view[None]))
        wrong = levels(float((guess - x).square().mean().sqrt()))
        beta = float(walk.bfn.flow.beta(t))
        know = (
            f"Accuracy β = {beta:,.3g}: the messages alone leave every value open by "
            f"±{_number(levels(walk.doubt(t)))} levels of 256."
            if beta > 0
            else "No message yet (β = 0), and the network has not been asked: grey."
        )
        factor = f", drawn {strength:.0f} times as strong" if strength > 1.5 else ""
        return (
            f"{know} The guess is off by <b>{_number(wrong)} levels</b>{factor}; to name "
            f"every byte right now would cost <b>{naming:.2f} bits</b> each."
        )

    return show


def flow_explorer(walk: Walk, names: dict[str, int], t: float = 0.25) -> Explorer:
    """One image: its noisy belief, the network's guess and what the guess gets wrong.

    Args:
        walk: from `walk`.
        names: the images to choose from, by their index in the walk.
        t: where the slider starts.
    """
    titles = ("the photo x", "belief: mean μ", "the network's guess x̂", "difference x − x̂")
    return explore(
        partial(_flow, walk=walk, titles=titles), _time_and_photo(walk, names, t), size=(9.2, 2.75),
        grid=(1, 4), play="t",
        description="A small photo, the noisy belief about it, what the network makes of that, and "
        "what it gets wrong, at a time t.",
    )


def flow_figure(walk: Walk, photo: int, times=(0.0, 0.125, 0.25, 0.5, 0.75, 1.0)):
    """Belief, guess and difference of one image in rows, times in columns."""
    states = {f"t = {t:g}": {"t": t, "photo": photo} for t in times}
    figure = at_rest(partial(_flow, walk=walk), states, size=(9, 4.9), rows=3)
    figure.get_layout_engine().set(wspace=0.03, hspace=0.03)
    count = len(times)
    for axis, name in zip(figure.axes[::count], ("belief μ", "guess x̂", "x − x̂"), strict=True):
        axis.set_ylabel(name)
    for axis, t in zip(figure.axes[-count:], times, strict=True):
        axis.set_xlabel(f"× {_strength(walk, t):.0f}")
    return figure


# Bytes ---------------------------------------------------------------------------------------


def bytes_figure(image: Tensor, top: int = 9, left: int = 12, rows: int = 6, columns: int = 9):
    """An image of bytes, (3, H, W), some of its red bytes as numbers, and all three histograms."""
    figure, axes = style.subplots(1, 3, size=(9.2, 3.0), width_ratios=(1, 1.5, 1.5))
    _show(axes[0], image.permute(1, 2, 0).numpy(), "a photo")
    axes[0].add_patch(Rectangle((left - 0.5, top - 0.5), columns, rows, fill=False, ec="white"))
    part = image[0, top : top + rows, left : left + columns]
    _show(axes[1], part.numpy(), "its red bytes", cmap="Reds_r", vmin=0, vmax=330, aspect="auto")
    for row, values in enumerate(part.tolist()):
        for column, value in enumerate(values):
            colour = "white" if value < 165 else COLOURS.text
            axes[1].text(column, row, value, ha="center", va="center", fontsize=8, color=colour)
    for channel, (name, colour) in zip(image, CHANNELS.items(), strict=True):
        counts = torch.histc(channel.float(), 32, 0, 256)
        axes[2].stairs(counts, torch.arange(33) * 8, color=colour, label=name, lw=1.6)
    axes[2].set(title="how often each byte occurs", xlabel="byte", xlim=(0, 256), yticks=[],
                xticks=[0, 64, 128, 192, 255])
    axes[2].legend()
    return figure


# Where the bits go -----------------------------------------------------------------------------


def _rate_axes(axis, walk: Walk) -> None:
    """Axes for prices over time, with the price of a network that only hands the messages on."""
    copying = -math.log2(walk.bfn.flow.sigma_1)
    axis.axhline(copying, color=COLOURS.data, lw=1, ls=(0, (4, 3)))
    axis.text(0.01, copying + 0.15, "x̂ from the messages alone", va="bottom", fontsize=8.5)
    axis.set(xlim=(0, 1), ylim=(0, 1.17 * copying), xlabel="time t",
             ylabel="bits per value and unit of time")


MOST = 24.0  # bits of the three values of a pixel, which full brightness stands for: 3 × 8


def where_explorer(walk: Walk, names: dict[str, int], t: float = 0.5) -> Explorer:
    """Bits spent on every pixel of one image up to a time t, and when they are spent.

    Args:
        walk: from `walk`.
        names: the images to choose from, by their index in the walk.
        t: where the slider starts.
    """
    spent, bills = walk.spent, walk.bill.mean((1, 2, 3))
    per_pixel, so_far = _per_pixel(spent).numpy(), spent.mean((2, 3, 4))  # (T, N, H, W), (T, N)
    prices = walk.rates[1:].mean((3, 4)).numpy()  # (T − 1, N, 3)

    def draw(axes):
        photo_image = _show(axes[0], picture(walk.x[:1]), "the photo")
        heat = _show(axes[1], per_pixel[0, 0], "bits spent up to t", cmap="magma", vmin=0,
                     vmax=MOST)
        bar = axes[1].inset_axes((1.03, 0, 0.05, 1))
        axes[1].figure.colorbar(heat, cax=bar, label="bits per pixel", ticks=[0, 8, 16, 24])
        _rate_axes(axes[2], walk)
        axes[2].set_title("the price over time")
        lines = [axes[2].plot([], [], color=c, label=n, lw=1.6)[0] for n, c in CHANNELS.items()]
        here = axes[2].axvline(t, color=COLOURS.text, lw=1)
        axes[2].legend(loc="lower center", bbox_to_anchor=(0.6, 0))

        def show(t: float, photo: int) -> str:
            index = walk.at(t)
            photo_image.set_data(picture(walk.x[photo : photo + 1]))
            heat.set_data(per_pixel[index, photo])
            for line, price in zip(lines, prices[:, photo].T, strict=True):
                line.set_data(walk.times[1:], price)
            here.set_xdata([t, t])
            paid, bill = float(so_far[index, photo]), float(bills[photo])
            open_by = _number(levels(walk.doubt(t))) if t > 0 else "any number of"
            return (
                f"Up to t = {t:.2f}: <b>{paid:.2f} bits</b> per value of {bill:.2f} in all "
                f"({100 * paid / bill:.0f} %). The messages alone leave every value open by "
                f"{open_by} levels, more or less."
            )

        return show

    return explore(
        draw, _time_and_photo(walk, names, t), size=(9.2, 3.1), grid=(1, 3),
        width_ratios=(1, 1, 1.6), play="t",
        description="A small photo, the bits spent on each of its pixels up to a time t, and the "
        "price over time of its three colour channels.",
    )


def _per_pixel(bits: Tensor) -> Tensor:
    """Bits of values, (..., 3, H, W), as bits of pixels, averaged over 3 × 3 of them, (..., H, W).

    One conversation is a matter of luck; an average over neighbours shows what is not.
    """
    pixels = bits.sum(-3)
    flat = torch.nn.functional.avg_pool2d(
        pixels.reshape(-1, 1, *pixels.shape[-2:]), 3, 1, 1, count_include_pad=False
    )
    return flat.reshape(pixels.shape)


def maps_figure(walk: Walk, photos):
    """Images (top) and the whole bill of each of their pixels (bottom)."""
    figure, axes = style.subplots(2, len(photos), size=(9.2, 3.05))
    figure.get_layout_engine().set(wspace=0.03, hspace=0.03)
    for (above, below), n in zip(axes.T, photos, strict=True):
        _show(above, picture(walk.x[n : n + 1]))
        heat = _show(below, _per_pixel(walk.bill[n]).numpy(), cmap="magma", vmin=0, vmax=MOST)
        below.set_xlabel(f"{float(walk.bill[n].mean()):.2f}")
    figure.colorbar(heat, ax=axes, shrink=0.75, label="bits per pixel", ticks=[0, 8, 16, 24])
    return figure


def shares_figure(walk: Walk):
    """The bill of all images together: over time, by colour channel, and by contrast."""
    figure, axes = style.subplots(1, 3, size=(9.4, 3.1), width_ratios=(1.7, 0.8, 1.2))
    _rate_axes(axes[0], walk)
    style.shade(axes[0], walk.times[1:], walk.rates[1:].mean((1, 2, 3, 4)), COLOURS.output)
    axes[0].set_title("when")
    bill = walk.bill.mean((0, 2, 3)).tolist()
    grouped, bits = (values.tolist() for values in by_contrast(walk))
    axes[1].bar(CHANNELS.keys(), bill, color=CHANNELS.values(), alpha=0.85)
    axes[1].set(title="which channel", ylabel="bits per value")
    axes[2].bar(range(len(bits)), bits, color=COLOURS.output, alpha=0.85)
    axes[2].set(title="flat areas, and edges", ylabel="bits per value",
                xlabel="levels between neighbours")
    axes[2].set_xticks(range(len(bits)), [_number(value) for value in grouped])
    top = 1.15 * max(bits + bill)
    for axis in axes[1:]:
        axis.set_ylim(0, top)
        axis.grid(axis="x", visible=False)
        axis.bar_label(axis.containers[0], fmt="%.1f", fontsize=8.5)
    return figure


# Training, and what came of it -------------------------------------------------------------------


LINES = (COLOURS.output, COLOURS.other, COLOURS.flow)  # of the curves, in their order


def _in_bits(curves: dict[str, list[dict]], dimensions: int, notes=None) -> list[Series]:
    """Training curves in bits per dimension, at most three.

    Raises:
        ValueError: there are more.
    """
    return [
        Series(name, [point["step"] for point in curve],
               [point["nats"] / dimensions / BIT for point in curve], colour,
               note=(notes or {}).get(name, ""), mode="lines")
        for (name, curve), colour in zip(curves.items(), LINES[: len(curves)], strict=True)
    ]


def curves_figure(curves: dict[str, list[dict]], dimensions: int, yardsticks=None, limit=9.0):
    """Training curves in bits per dimension, on axes on which steps grow by factors.

    Args:
        curves: from a name to the "curve" of a record, a list of {"step", "nats"}.
        dimensions: of an example.
        yardsticks: from a name to bits per dimension, as horizontal lines.
        limit: where the axis of bits ends.
    """
    figure, axis = style.subplots(size=(7.6, 3.3))
    for one in _in_bits(curves, dimensions):
        axis.plot(one.x, one.y, color=one.colour, label=one.name, lw=1.6)
    low = min(axis.dataLim.y0, *(yardsticks or {"": limit}).values())
    axis.set(xscale="log", ylim=(0.9 * low, limit), xlabel="training step",
             ylabel="bits per dimension")
    axis.xaxis.set_major_formatter("{x:,.0f}")
    axis.xaxis.set_minor_formatter(NullFormatter())
    for name, bits in (yardsticks or {}).items():
        axis.axhline(bits, color=COLOURS.data, lw=1, ls=(0, (4, 3)))
        axis.text(0, bits, f"  {name}", transform=axis.get_yaxis_transform(), fontsize=8.5,
                  ha="left", va="bottom")
    axis.legend(loc="upper right")
    return figure


def curves_chart(curves: dict[str, list[dict]], dimensions: int, notes: dict[str, str], alt: str,
                 yardsticks=None, limit=9.0):
    """`curves_figure`, to read off; `notes` say how what has a name was measured."""
    still = curves_figure(curves, dimensions, yardsticks, limit)
    return chart(_in_bits(curves, dimensions, notes), still, alt, x="training step",
                 y="bits per dimension", label="step %{x:,}", log="x", yardsticks=yardsticks,
                 limits=still.axes[0].get_ylim())


def _opened(path) -> Image.Image:
    return Image.open(io.BytesIO(path.read_bytes())).convert("RGB")


def sheet_figure(path, title: str = ""):
    """A picture file, enlarged without smoothing."""
    image = _opened(path)
    figure, axis = style.subplots(size=(5, 5 * image.height / image.width + 0.3 * bool(title)))
    _show(axis, image, title)
    return figure


def sheets_figure(sheets: dict, columns: int = 2, share: float = 1.0):
    """Picture files side by side, each under its title, enlarged without smoothing.

    Args:
        sheets: from titles to paths.
        columns: of pictures.
        share: of each picture's height, from its top, that is shown.
    """
    rows = -(-len(sheets) // columns)
    figure, axes = style.subplots(rows, columns, size=(4 * columns, (3.7 * share + 0.7) * rows),
                                  squeeze=False)
    for axis, (title, path) in zip(axes.flat, sheets.items(), strict=True):
        image = _opened(path)
        _show(axis, image.crop((0, 0, image.width, round(share * image.height))), title)
    return figure


def _distances(figures: dict[str, dict[str, float]]):
    """Rows of samples by their number of messages, and distances of what else was judged."""
    numbers = ((name.removeprefix("n = "), row) for name, row in figures.items())
    drawn = {int(number): row for number, row in numbers if number.isdigit()}
    others = {name: row["distance"] for name, row in figures.items() if not name.startswith("n = ")}
    return drawn, others


def frechet_figure(figures: dict[str, dict[str, float]]):
    """Fréchet distances of samples against the number of messages, with bars of two standard
    errors; what they are compared with as horizontal lines.

    Args:
        figures: from "n = 10", or what else was judged, to a "distance" and a "standard error", as
            tools/frechet.py records them. Samples "about the mean" are left out.
    """
    figure, axis = style.subplots(size=(7.6, 3.3))
    drawn, others = _distances(figures)
    axis.errorbar(list(drawn), [row["distance"] for row in drawn.values()],
                  [2 * row["standard error"] for row in drawn.values()], color=COLOURS.output,
                  marker="o", ms=5, lw=1.6)
    for name, distance in others.items():
        axis.axhline(distance, color=COLOURS.data, lw=1, ls=(0, (4, 3)))
        # Noise and its like are near each other: the name of the lower one goes under its line.
        below = any(distance < other < 1.5 * distance for other in others.values())
        axis.annotate(name, (1, distance), (-4, -2 if below else 2), fontsize=8.5,
                      xycoords=("axes fraction", "data"), textcoords="offset points",
                      ha="right", va="top" if below else "bottom")
    axis.set(xscale="log", yscale="log", xlabel="messages n", ylabel="Fréchet distance",
             ylim=(0.6 * min(others.values()), 2 * max(others.values())))
    axis.set_xticks(list(drawn), [str(n) for n in drawn])
    axis.minorticks_off()
    axis.yaxis.set_major_formatter("{x:g}")
    return figure


def frechet_chart(record: dict, alt: str):
    """`frechet_figure` of a record of tools/frechet.py, to read off."""
    drawn, others = _distances(record["figures"])
    series = Series("samples", list(drawn), [row["distance"] for row in drawn.values()],
                    COLOURS.output, [row["standard error"] for row in drawn.values()],
                    f"{record['command']}; {record['images of each kind']} images, seed "
                    f"{record['seed']}")
    still = frechet_figure(record["figures"])
    return chart([series], still, alt, x="messages n", y="Fréchet distance", label="n = %{x}",
                 log="xy", yardsticks=others, limits=still.axes[0].get_ylim())


# Images as they form -----------------------------------------------------------------------------


LAYOUT = 8  # the side of the squares whose means are the layout of an image


def samples_explorer(beliefs: Tensor, guesses: Tensor, step: int = 8) -> Explorer:
    """Images as they form: drag the step, or play.

    Args:
        beliefs, guesses: (n_steps + 1, N, 3, H, W), from `record`.
        step: where the slider starts.
    """
    count, end = len(beliefs) - 1, guesses[-1]

    def draw(axes):
        axes[0].figure.get_layout_engine().set(wspace=0.05)
        frames, titles = (beliefs, guesses), ("belief: mean μ", "the network's guess")
        pairs = zip(axes, frames, titles, strict=False)
        shown = [_show(axis, picture(frame[0]), title) for axis, frame, title in pairs]
        curves = (
            ("belief", COLOURS.input, "-", from_the_end(beliefs, end)),
            ("guess", COLOURS.output, "-", from_the_end(guesses, end)),
            (f"guess, means of {LAYOUT} × {LAYOUT}", COLOURS.output, ":",
             from_the_end(guesses, end, LAYOUT)),
        )
        for name, colour, line, values in curves:
            axes[2].plot(range(count), values[:-1], color=colour, ls=line, label=name)
        now = axes[2].axvline(step, color=COLOURS.text, lw=1)
        axes[2].set(title="levels from what it becomes", xlabel="messages received",
                    xlim=(0, count), yscale="log", ylim=(0.5, 300))
        axes[2].set_yticks([1, 10, 100], ["1", "10", "100"])
        axes[2].minorticks_off()
        axes[2].legend(loc="upper right", fontsize=8)

        def show(step: int) -> str:
            for image, frame in zip(shown, frames, strict=True):
                image.set_data(picture(frame[step]))
            now.set_xdata([step, step])
            whole, layout = (_number(float(curve[-1][step])) for curve in curves[1:])
            return (
                f"After {step} of {count} messages, t = {step / count:.2f}: the network's guess is "
                f"<b>{whole} levels</b> from what it becomes, and the means of its squares of "
                f"{LAYOUT} × {LAYOUT} pixels, the layout, <b>{layout}</b>."
            )

        return show

    return explore(
        draw, {"step": slider("messages received", 0, count, step, width=300)}, size=(9.2, 3.4),
        grid=(1, 3), width_ratios=(1, 1, 1.05), play="step", seconds=6,
        description="Colour images forming: Bob's belief, the network's guess, and how far both "
        "still are from what they become, after each message.",
    )


def samples_figure(beliefs: Tensor, guesses: Tensor, steps):
    """Belief (top) and guess (bottom) of the first four after some numbers of messages."""
    figure, axes = style.subplots(2, len(steps), size=(9.2, 3.35))
    figure.get_layout_engine().set(wspace=0.03, hspace=0.03)
    for (above, below), step in zip(axes.T, steps, strict=True):
        _show(above, picture(beliefs[step, :4]), "1 message" if step == 1 else f"{step} messages")
        _show(below, picture(guesses[step, :4]))
    axes[0, 0].set_ylabel("belief")
    axes[1, 0].set_ylabel("guess")
    return figure
