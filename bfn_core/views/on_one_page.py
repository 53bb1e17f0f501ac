"""Pictures of what goes wrong: mistakes made on purpose, their bills and their samples.

Their figures come from assets/mistakes.json (`python -m tools.mistakes`); see bfn_core.mistakes.
"""

from typing import Any

import numpy
import torch
from torch import Tensor

from bfn_core.mistakes import LAW, MISTAKES, RIGHT

from .kit import style
from .kit.explorer import Explorer, choice, count_slider, explore
from .kit.style import COLOURS

DAYS = ("sun", "cloud", "rain")
PAIRS = [f"{a}, {b}" for a in DAYS for b in DAYS]
HIGHEST = 4.5  # nats, where the axis of the bills ends
SEEN = 4.0  # standard errors from which on a difference is one
FAR = 0.015  # total variation beyond what the right sampler has, from which on it is seen


def verdict(name: str, record: dict[str, Any], n: int) -> str:
    """What a measured mistake looks like, in a sentence or two."""
    row, right = record["rows"][name][str(n)], record["rows"][RIGHT.name][str(n)]
    said = []
    for bill, what in (("bill_n", f"at n = {n}"), ("bill", "in continuous time")):
        (mean, error), (more, spread) = row[bill], row[f"{bill} more"]
        if mean < record["entropy"] - SEEN * error:
            said.append(f"its bill {what}, {mean:.2f} nats, is <b>below the entropy</b> of "
                        f"{record['entropy']:.2f}: no code can do that")
        elif abs(more) > SEEN * spread and abs(more) > 0.005:
            which = "above" if more > 0 else "below"
            said.append(f"its bill {what} is {abs(more):.2f} nats {which} the right one")
    if row["distance"] > right["distance"] + FAR:
        said.append(f"its samples are <b>{row['distance']:.2f}</b> from the law in total "
                    f"variation, where the right ones are {right['distance']:.2f}")
    if name == RIGHT.name:
        return (f"All is right. The bill at n = {n} is {row['bill_n'][0]:.2f} nats, in continuous "
                f"time {row['bill'][0]:.2f}; the entropy is {record['entropy']:.2f}. (Bills are "
                f"measured to about {row['bill'][1]:.2f} nats.) The samples are "
                f"{row['distance']:.2f} from the law.")
    if not said:
        return f"At n = {n} nobody sees it: try another number of messages."
    sentence = "; ".join(said)
    return sentence[0].upper() + sentence[1:] + "."


def mistakes_explorer(record: dict[str, Any]) -> Explorer:
    """Choose a mistake and a number of messages; see bill and samples.

    Args:
        record: assets/mistakes.json.
    """
    ns = sorted(int(n) for n in record["rows"][RIGHT.name])

    def picture(axes):
        bills, samples = axes
        wrong, right, labels = _draw_bills(bills, record)
        bars = _draw_samples(samples)

        def show(mistake, n):
            row, good = (record["rows"][name][str(n)] for name in (mistake, RIGHT.name))
            for k, bill in enumerate(("bill_n", "bill")):
                height = min(row[bill][0], HIGHEST)
                wrong[k].set_height(height)
                right[k].set_data([k - 0.36, k + 0.36], [good[bill][0]] * 2)
                over = row[bill][0] > HIGHEST
                labels[k].set(y=min(height, HIGHEST - 0.35) + 0.04,
                              text=f"{row[bill][0]:.2f}" + (" ↑" if over else ""))
            for bar, share in zip(bars, numpy.ravel(row["shares"]), strict=True):
                bar.set_height(share)
            says = MISTAKES[mistake].says
            about = f"<i>{says}</i> " if says else ""
            return f"{about}{verdict(mistake, record, n)}"

        return show

    controls = {
        "mistake": choice("what is wrong", [(name, name) for name in MISTAKES],
                          "the mode, sent for a draw", width=390),
        "n": count_slider("messages n", ns[0], ns[-1], 10, counts=ns, width=260),
    }
    description = ("A list of mistakes, a bar for the bill that each makes beside the entropy, and "
                   "bars for its samples beside the law of the data.")
    return explore(
        picture, controls, size=(9.0, 3.5), grid=(1, 2), width_ratios=(1, 1.9),
        description=description,
    )


def _draw_bills(axes, record):
    axes.axhline(record["entropy"], color=COLOURS.data, lw=1.2, ls=(0, (5, 4)), label="entropy")
    wrong = axes.bar([0, 1], [1, 1], color=COLOURS.receiver, width=0.6, zorder=2)
    right = [axes.plot([], [], color=COLOURS.text, lw=2, zorder=3,
                       label="right" if k == 0 else None)[0] for k in (0, 1)]
    labels = [axes.text(k, 0, "", ha="center", va="bottom", zorder=4) for k in (0, 1)]
    axes.set(title="The bill, nats", ylim=(0, HIGHEST), xlim=(-0.6, 1.6))
    axes.set_xticks([0, 1], ["$L^n + L^r$", "$L^∞ + L^r$"])
    axes.legend(loc="upper right", ncols=2)
    return list(wrong), right, labels


def _draw_samples(axes):
    bars = axes.bar(range(9), numpy.zeros(9), color=COLOURS.output, width=0.7, label="samples")
    law = LAW.flatten().numpy()
    axes.hlines(law, numpy.arange(9) - 0.4, numpy.arange(9) + 0.4, color=COLOURS.data, lw=2.5,
                label="law", zorder=3)
    axes.set(title="What is drawn", ylim=(0, 0.62), ylabel="share")
    axes.set_xticks(range(9), PAIRS, rotation=35, ha="right")
    axes.legend(loc="upper right", ncols=2)
    return list(bars)


def symptoms_figure(record: dict[str, Any], n: int = 10):
    """All mistakes at one n: what they do to either bill, and to the samples."""
    names = [name for name in MISTAKES if name != RIGHT.name]
    figure, axes = style.subplots(1, 3, size=(9.4, 4.6), sharey=True, width_ratios=(1, 1, 1))
    rows = [record["rows"][name][str(n)] for name in names]
    right = record["rows"][RIGHT.name][str(n)]
    for axis, bill, title in ((axes[0], "bill_n", f"$L^n + L^r$, n = {n}"),
                              (axes[1], "bill", "$L^∞ + L^r$")):
        more = [row[f"{bill} more"][0] for row in rows]
        below = [row[bill][0] < record["entropy"] - SEEN * row[bill][1] for row in rows]
        _bars(axis, more, [COLOURS.sender if low else COLOURS.receiver for low in below],
              (-2.2, 3.4), "{:+.2f}")
        axis.set_title(f"{title}: nats more", fontsize=10)
    off = [row["distance"] for row in rows]
    _bars(axes[2], off, [COLOURS.output] * len(off), (0, 0.62), "{:.2f}")
    axes[2].axvline(right["distance"], color=COLOURS.text, lw=1.2, ls=(0, (3, 2)))
    axes[2].set_title("samples: distance", fontsize=10)
    axes[0].set_yticks(range(len(names)), names)
    axes[0].invert_yaxis()
    return figure


def _bars(axis, values, colours, limits, form):
    low, high = limits
    shown = numpy.clip(values, 0.72 * low, 0.72 * high)
    axis.barh(range(len(values)), shown, color=colours, height=0.65)
    for place, (value, at) in enumerate(zip(values, shown, strict=True)):
        seen = abs(value) >= 0.005
        words = f" {form.format(value)}{' →' if value > at else ''} " if seen else " 0 "
        axis.text(at, place, words, va="center", fontsize=8,
                  ha="right" if value < 0 else "left", color=COLOURS.text if seen else "#8C8C8C")
    axis.axvline(0, color="#8C8C8C", lw=0.8)
    axis.set(xlim=limits, xticks=[])
    axis.grid(False)


def ring_figure(x: Tensor, drawn: Tensor, losses):
    """The loss of a training, data, and what was drawn."""
    figure, axes = style.subplots(1, 3, size=(8.8, 2.9), width_ratios=(1.35, 1, 1))
    curve = torch.as_tensor(losses)
    smooth = curve[: len(curve) // 10 * 10].reshape(-1, 10).mean(1)
    axes[0].plot(10 * torch.arange(len(smooth)) + 5, smooth, color=COLOURS.output)
    axes[0].set(title="loss", xlabel="training step", ylabel="nats")
    for axis, points, title, colour in ((axes[1], x, "data", COLOURS.data),
                                        (axes[2], drawn, "drawn", COLOURS.output)):
        axis.plot(*points.T.numpy(), ".", ms=2.5, color=colour, alpha=0.6, mew=0)
        axis.set(title=title, xlim=(-1, 1), ylim=(-1, 1), aspect="equal", xticks=[], yticks=[])
    return figure
