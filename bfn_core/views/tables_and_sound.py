"""Pictures of rows of which some columns are known, and of strings that come out of noise."""

from typing import Any

import torch
from torch import Tensor

from bfn_core.data.iris_and_wine import LABEL, LabelledTable, Scale
from bfn_core.data.sound import NOTES, PluckedStrings
from bfn_core.model import BFN
from bfn_core.networks.waves import heard_so_far
from bfn_core.own_clocks import OwnClocks, row_belief
from bfn_core.views.kit import style
from bfn_core.views.kit.explorer import explore, slider, tick
from bfn_core.views.kit.style import COLOURS

SHOWN = (2, 3)  # the columns of a scatter of irises: length and width of the petals


def scatter(axis, table: LabelledTable, size: float = 14, alpha: float = 0.5) -> None:
    """Rows as points, of two of their columns, in the colours of their classes."""
    for k, (name, colour) in enumerate(zip(table.classes, COLOURS.classes, strict=False)):
        own = table.numbers[table.label == k]
        axis.scatter(own[:, SHOWN[0]], own[:, SHOWN[1]], s=size, color=colour, alpha=alpha, lw=0,
                     label=name)
    axis.set(xlabel=table.names[SHOWN[0]] + " (cm)", ylabel=table.names[SHOWN[1]] + " (cm)")


def table_explorer(bfn: OwnClocks, table: LabelledTable, scale: Scale):
    """One row of a table: tick what is known of it, tell the rest until t, see what is guessed."""

    def picture(axes):
        scatter(axes[0], table, alpha=0.25)
        truth = axes[0].plot([], [], "o", ms=12, mfc="none", mec=COLOURS.text, mew=1.6,
                             label="the row")[0]
        guess = axes[0].plot([], [], "X", ms=11, color=COLOURS.output, label="guess")[0]
        axes[0].legend(loc="upper left", ncols=2, fontsize=8)
        bars = axes[1].bar(table.classes, [0.0] * len(table.classes), color=COLOURS.classes)
        axes[1].set(ylim=(0, 1), ylabel="guessed probability")
        axes[1].grid(False, axis="x")
        columns = scale.columns(table)

        def show(row, t, **ticks):
            known = dict(zip([*table.names, LABEL], ticks.values(), strict=True))
            x = {name: column[row : row + 1] for name, column in columns.items()}
            with torch.no_grad():
                output = bfn.output(*row_belief(bfn, x, known, t, row))
            found = torch.cat([x[n] if known[n] else output[n].mean for n in table.names], 1)
            place = scale.measured(found)[0]
            chance = output[LABEL].probs[0, 0]
            if known[LABEL]:
                chance = torch.nn.functional.one_hot(x[LABEL][0, 0], len(table.classes)).float()
            truth.set_data(*table.numbers[row, list(SHOWN)].unsqueeze(1).tolist())
            guess.set_data(*place[list(SHOWN)].unsqueeze(1).tolist())
            for bar, p in zip(bars, chance.tolist(), strict=True):
                bar.set_height(p)
            best = int(chance.argmax())
            return (f"It is <b>{table.classes[int(table.label[row])]}</b>; the guess is "
                    f"<b>{table.classes[best]}</b> ({100 * float(chance[best]):.0f} %), "
                    + ", ".join(f"{n} {float(v):.1f}" for n, v in
                                zip(table.names, place, strict=True)) + " cm.")

        return show

    controls = {"row": slider("which row", 0, len(table) - 1, 0),
                "t": slider("time t of what is not known", 0.0, 1.0, 0.0, 0.02)}
    for j, name in enumerate(table.names):
        controls[f"known{j}"] = tick(f"{name} known", j < 2, width=150)
    controls["known_class"] = tick("class known", False, width=150)
    description = ("Irises as points by length and width of their petals, with one row ringed and "
                   "the network's guess as a cross; beside it bars for the three species.")
    return explore(
        picture, controls, size=(8.6, 3.6), grid=(1, 2), width_ratios=(1.7, 1), play="t",
        description=description,
    )


def clouds_figure(clouds: dict[str, LabelledTable]):
    """Scatters of irises side by side, such as data and samples."""
    figure, axes = style.subplots(1, len(clouds), size=(2.9 * len(clouds), 3.0), sharex=True,
                                  sharey=True)
    for axis, (name, table) in zip(axes, clouds.items(), strict=True):
        scatter(axis, table)
        axis.set_title(name)
        axis.label_outer()
    axes[0].legend(loc="upper left", fontsize=8)
    return figure


def rivals_figure(summaries: dict[str, dict[str, Any]], what: str, label: str):
    """One panel for each table: values with two standard errors, the BFN's first.

    Args:
        summaries: by table, then by quantity, then by name, (mean, standard error).
        what: the quantity.
        label: in words.
    """
    figure, axes = style.subplots(1, len(summaries), size=(8.4, 2.4), sharey=True)
    for axis, (name, summary) in zip(axes, summaries.items(), strict=True):
        for place, (value, error) in enumerate(summary[what].values()):
            axis.errorbar(value, place, xerr=2 * error, fmt="o", capsize=3,
                          color=COLOURS.output if place == 0 else COLOURS.other)
        axis.set_yticks(range(len(summary[what])), list(summary[what]))
        axis.set(title=name, xlabel=label)
        axis.margins(0.1, 0.2)
    axes[0].invert_yaxis()
    return figure


# Strings.


def strings_figure(bfn: BFN, x: Tensor, strings: PluckedStrings, times=(0.02, 0.1, 0.2, 0.5)):
    """A string, x (1, L), in the belief and in the guess at some times."""
    figure, axes = style.subplots(len(times), 2, size=(8.6, 1.25 * len(times)), sharex=True,
                                  sharey=True)
    seconds = 1000 * torch.arange(strings.length) / strings.rate
    for row, t in zip(axes, times, strict=True):
        for axis, wave, colour in zip(row, heard_so_far(bfn, x, t),
                                      (COLOURS.input, COLOURS.output), strict=True):
            axis.plot(seconds, x[0], color=COLOURS.data, lw=0.6, alpha=0.4)
            axis.plot(seconds, wave[0], color=colour, lw=0.8)
            axis.set(ylim=(-1.1, 1.1), xlim=(0, 130))
        row[0].set_ylabel(f"t = {t:.2f}")
    axes[0, 0].set_title("mean of the belief")
    axes[0, 1].set_title("the network's guess")
    for axis in axes[-1]:
        axis.set_xlabel("milliseconds")
    return figure


def string_explorer(bfn: BFN, x: Tensor, pitch: Tensor, strings: PluckedStrings):
    """Strings x (B, L) of given pitches (B,), told until t: waves, and which pitch one finds."""

    def picture(axes):
        shown = slice(0, 400)
        seconds = 1000 * torch.arange(strings.length)[shown] / strings.rate
        belief, guess = (axes[0].plot(seconds, seconds * 0, lw=lw, color=colour, alpha=alpha,
                                      label=label)[0]
                         for lw, colour, alpha, label in ((0.8, COLOURS.input, 0.6, "belief"),
                                                          (1.4, COLOURS.output, 1.0, "guess")))
        axes[0].set(ylim=(-1.2, 1.7), yticks=(-1, 0, 1), xlabel="milliseconds")  # above: the legend
        axes[0].legend(loc="upper right", ncols=2)
        places = torch.arange(12)
        one, other = (axes[1].bar(places + shift, [0.0] * 12, width=0.4, color=colour)
                      for shift, colour in ((-0.2, COLOURS.input), (0.2, COLOURS.output)))
        axes[1].set_xticks(places, NOTES, fontsize=8)
        axes[1].set(ylim=(-0.5, 1), ylabel="how well a period fits")

        def show(t, string):
            waves = heard_so_far(bfn, x[string : string + 1], t, string)
            found = []
            for line, bars, wave in zip((belief, guess), (one, other), waves, strict=True):
                line.set_ydata(wave[0, shown].clamp(-1.2, 1.2).numpy())
                fit = strings.correlations(wave)[0]
                for bar, height in zip(bars, fit.tolist(), strict=True):
                    bar.set_height(height)
                found.append(NOTES[int(fit.argmax())] if float(wave.abs().max()) > 0 else "nothing")
            return (f"The string is <b>{NOTES[int(pitch[string])]}</b>; the belief sounds most "
                    f"like {found[0]}, the guess like <b>{found[1]}</b>.")

        return show

    controls = {"t": slider("time t", 0.0, 1.0, 0.1, 0.01),
                "string": slider("which string", 0, len(x) - 1, 0)}
    description = ("The wave of a string in the belief and in the guess, and for each of twelve "
                   "notes how well its period fits both.")
    return explore(
        picture, controls, size=(8.8, 3.0), grid=(1, 2), width_ratios=(1.7, 1), play="t",
        description=description,
    )


def sounds_figure(waves: dict[str, Tensor], strings: PluckedStrings):
    """Strings, (L,) each: their waves, and how strong each frequency is in them."""
    figure, axes = style.subplots(len(waves), 2, size=(8.6, 1.45 * len(waves)), sharex="col",
                                  sharey="col", width_ratios=(1.7, 1))
    seconds = 1000 * torch.arange(strings.length) / strings.rate
    hertz = torch.arange(strings.length // 2 + 1) * strings.rate / strings.length
    for row, (name, wave) in zip(axes, waves.items(), strict=True):
        colour = COLOURS.data if name.startswith("string") else COLOURS.output
        row[0].plot(seconds, wave, color=colour, lw=0.7)
        power = torch.fft.rfft(wave * torch.hann_window(len(wave))).abs().square()
        row[1].plot(hertz, 10 * (power / power.max()).clamp(min=1e-9).log10(), color=colour, lw=0.8)
        row[0].set(ylim=(-1, 1), xlim=(0, float(seconds[-1])))
        row[0].set_title(name, fontsize=9, loc="left")
        row[1].set(ylim=(-70, 5), xlim=(0, strings.rate / 2), ylabel="dB")
    axes[-1, 0].set_xlabel("milliseconds")
    axes[-1, 1].set_xlabel("hertz")
    return figure


def pitches_figure(counts: list[int]):
    """How often each pitch came, beside the law; whiskers are two standard errors."""
    figure, axis = style.subplots(size=(6.4, 2.4))
    total = sum(counts)
    shares = [count / total for count in counts]
    errors = [2 * (p * (1 - p) / total) ** 0.5 for p in shares]
    axis.bar(NOTES, shares, yerr=errors, color=COLOURS.output, capsize=2)
    axis.axhline(1 / 12, color=COLOURS.data, ls=":", lw=1.4)
    axis.set(ylabel="share of samples")
    axis.grid(False, axis="x")
    return figure


# A heart.


def heart_figure(x: Tensor, quarters: dict[str, list[float]], shown: tuple[str, ...]):
    """Beats of a heart, x (L,), and under them what each of its quarters cost.

    Args:
        x: the signal.
        quarters: by name of a coder, its bits per sample of each quarter.
        shown: which of them.
    """
    figure, (wave, costs) = style.subplots(2, 1, size=(8.6, 3.8), sharex=True,
                                           height_ratios=(1.3, 1))
    size = len(x) // len(quarters[shown[0]])
    wave.plot(torch.arange(len(x)), x, color=COLOURS.data, lw=0.8)
    wave.set(xlim=(0, len(x)), ylabel="the signal")
    for name, colour in zip(shown, (COLOURS.output, COLOURS.other, COLOURS.input), strict=False):
        values = quarters[name]
        costs.stairs(values, [size * k for k in range(len(values) + 1)], color=colour, lw=1.8,
                     baseline=None, label=name)
    costs.set(ylabel="bits per sample", xlabel="sample", ylim=(0, None))
    costs.legend(loc="lower center", ncols=len(shown))
    for axis in (wave, costs):
        axis.set_xticks([size * k for k in range(len(x) // size + 1)])
    return figure
