"""Pictures of calibration: shares inside p_O's middle, and how often guesses come true."""

from bfn_core.calibration import PARTS, Coverage, Reliability

from . import style
from .style import COLOURS


def coverage_figure(found: dict[str, Coverage], t: float):
    """Left, for every time, the share of x inside p_O's middle, one line for each level; right
    the ranks of x in p_O at one time. Dashed: what they are for a p_O that is right.

    Args:
        found: `coverage` of one model or of two or three, by their names; at the same levels.
        t: the time on the right, one of those that were judged.
    """
    figure, (left, right) = style.subplots(1, 2, size=(9, 3.4), width_ratios=[1.3, 1])
    for level in next(iter(found.values())).levels:
        left.axhline(100 * level, color=COLOURS.data, lw=1, ls=(0, (4, 3)))
        left.annotate(f"{100 * level:g} %", (1, 100 * level), (2, 0), va="center", fontsize=9,
                      xycoords=("axes fraction", "data"), textcoords="offset points")
    right.axhline(100 / PARTS, color=COLOURS.data, lw=1, ls=(0, (4, 3)))
    colours = (COLOURS.other, COLOURS.output, COLOURS.input)
    for (name, one), colour in zip(found.items(), colours, strict=False):
        for i in range(len(one.levels)):
            rows = [row[i] for row in one.shares]
            left.errorbar(one.times, [100 * row.mean for row in rows],
                          [200 * row.standard_error for row in rows], color=colour, marker="o",
                          ms=4, lw=1.4, label=name if i == 0 else None)
        ranks = 100 * one.ranks[one.times.index(t)]
        edges = [100 * part / PARTS for part in range(PARTS + 1)]
        right.stairs(ranks.tolist(), edges, color=colour, lw=1.6, label=name)
    left.set(title="Share of $x$ inside the middle of $p_O$", xlabel="time $t$", ylabel="per cent",
             ylim=(0, 103))
    right.set(title=f"Ranks of $x$ in $p_O$ at $t$ = {t:g}", xlabel="rank in $p_O$, per cent",
              ylabel="share of $x$, per cent", xlim=(0, 100), ylim=(0, None))
    left.legend(loc="lower right")
    return figure


def reliability_figure(found: Reliability | dict[str, Reliability], title: str = "guesses",
                       least: float = 0.0, colours=(COLOURS.output, COLOURS.input, COLOURS.other)):
    """One square for each time: the share of guesses that came true against their probability.

    Bars are two standard errors; larger points stand for more guesses. Dashed: guesses that are
    as sure as they may be; below it they are too sure.

    Args:
        found: `reliability` of one model, or of two or three by their names; at the same times.
        title: of the guesses.
        least: a range of probability in which no larger share of guesses lies has no point.
        colours: of the models.

    Raises:
        ValueError: if two were judged at different times.
    """
    several = found if isinstance(found, dict) else {"": found}
    times = next(iter(several.values())).times
    figure, axes = style.subplots(1, len(times), size=(2.3 * len(times) + 0.7, 3.1), sharey=True,
                                  squeeze=False)
    for name, one in several.items():
        if one.times != times:
            raise ValueError(f"{name} was judged at {one.times}, the others at {times}")
    for i, (axis, t) in enumerate(zip(axes[0], times, strict=True)):
        axis.plot([0, 100], [0, 100], color=COLOURS.data, lw=1, ls=(0, (4, 3)))
        for (name, one), colour, marker in zip(several.items(), colours, "oDs", strict=False):
            some = one.weight[i] > least
            guessed, true = 100 * one.guessed[i, some], 100 * one.true[i, some]
            axis.errorbar(guessed, true, 200 * one.standard_error[i, some], color=colour, lw=1,
                          ls="")
            axis.scatter(guessed, true, 12 + 130 * one.weight[i, some].sqrt(), color=colour,
                         marker=marker, alpha=0.75, lw=0, label=name or None, clip_on=False)
        axis.set(title=f"t = {t:g}", xlim=(-3, 103), ylim=(-3, 103), aspect="equal",
                 xticks=(0, 50, 100), xlabel=f"{title}, per cent")
    axes[0, 0].set_ylabel("came true, per cent")
    if isinstance(found, dict):
        marks = axes[0, 0].get_legend_handles_labels()
        legend = figure.legend(*marks, loc="outside upper center", ncols=len(found))
        for handle in legend.legend_handles:
            handle.set_sizes([40])
    return figure
