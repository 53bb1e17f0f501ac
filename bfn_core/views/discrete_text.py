"""Pictures of beliefs about strings: heat maps of letters, and samples as badges."""

import html
from functools import lru_cache, partial

import torch

from bfn_core.model import BFN

from .kit import plotly_figure, style
from .kit.explorer import choice, explore, slider
from .kit.letters import MONOSPACE, LetterMap, entropy, map_trace
from .kit.plotly_figure import PlotlyFigure


def belief_figure(language, beliefs, titles, colours):
    """Heat maps of beliefs, each (L, K), side by side; returns the figure."""
    figure, axes = style.subplots(1, len(beliefs), size=(3.1 * len(beliefs), 4.0), squeeze=False)
    for ax, probs, title, colour in zip(axes[0], beliefs, titles, colours, strict=True):
        LetterMap(ax, language.alphabet, language.length, colour, title).show(probs)
    return figure


def belief_chart(language, beliefs, titles, colours, alt):
    """`belief_figure`, whose cells say probability and bits to the pointer."""
    share, traces, axes, heads = 1 / len(beliefs), [], {}, []
    for i, (probs, colour) in enumerate(zip(beliefs, colours, strict=True)):
        name = "" if i == 0 else str(i + 1)
        traces.append(map_trace(probs, language.alphabet, colour, xaxis=f"x{name}", yaxis="y"))
        axes[f"xaxis{name}"] = {"domain": [share * i + 0.01, share * (i + 1) - 0.01], "dtick": 1,
                                "title": {"text": "position"}, "showgrid": False,
                                "automargin": True}
        heads += likeliest(probs, language.alphabet, f"x{name}")
    above = [{"text": title, "x": share * (i + 0.5), "xref": "paper", "y": 1.1, "yref": "paper",
              "xanchor": "center", "yanchor": "bottom", "showarrow": False,
              "font": {"color": colour}}
             for i, (title, colour) in enumerate(zip(titles, colours, strict=True))]
    figure = plotly_figure.new(
        traces, height=430, annotations=above + heads,
        margin={"l": 10, "r": 10, "t": 60, "b": 10},
        yaxis={"autorange": "reversed", "showgrid": False, "automargin": True}, **axes,
    )
    return PlotlyFigure(figure, belief_figure(language, beliefs, titles, colours), alt)


def likeliest(probs, alphabet, axis):
    """Plotly's annotations: above each column of a map of probs, (L, K), its likeliest letter."""
    return [{"text": f"<b>{html.escape(alphabet[int(row.argmax())])}</b>", "x": d, "xref": axis,
             "y": 1.01, "yref": "paper", "yanchor": "bottom", "showarrow": False,
             "font": {"size": 17}, "opacity": round(0.15 + 0.85 * float(row.max()), 3)}
            for d, row in enumerate(probs, 1)]


def _beliefs(axes, models, language, n_steps):
    """The input and the output distribution of one sample on its way."""
    maps = [LetterMap(panel, language.alphabet, language.length, colour, label)
            for panel, colour, label in zip(
                axes, (style.COLOURS.input, style.COLOURS.output),
                (style.LABELS.input, style.LABELS.output), strict=True)]
    axes[1].set_yticklabels([])

    @lru_cache(maxsize=64)
    def steps(name, seed):
        generator = torch.Generator().manual_seed(seed)
        shape = (1, language.length)
        walk = list(models[name].sampling_steps(shape, n_steps, generator=generator))
        final = walk[-1].output.sample(generator=generator)
        return walk, language.decode(final)[0], bool(language.valid(final))

    def show(step, model, seed):
        walk, word, valid = steps(model, seed)
        both = walk[step].theta.probs[0], walk[step].output.probs[0]
        for letter_map, probs in zip(maps, both, strict=True):
            letter_map.show(probs)
        open_input, open_output = (float(entropy(probs).sum()) for probs in both)
        verdict = "a sum that is right" if valid else "not a sum that is right"
        return (
            f"After {step} of {n_steps} messages, t = {walk[step].t:.2f}. Summed over the "
            f"positions, the messages leave <b>{open_input:.2f} nats</b> open, the network "
            f'<b>{open_output:.2f}</b>. At the end it writes <b style="{MONOSPACE}">'
            f"{html.escape(word)}</b>: {verdict}."
        )

    return show


def belief_explorer(models: dict[str, BFN], language, n_steps=40):
    """Drag the step of one sample: what the messages say, and what the network makes of it.

    Left is the input distribution, one position at a time; right is the output distribution, in
    which the network has used the other positions. `models` maps names to BFNs (the first is
    shown first), `language` is a Strings.
    """
    controls = {
        "step": slider("messages received", 0, n_steps, n_steps // 4),
        "model": choice("network", list(models)),
        "seed": slider("which sample", 1, 20, 1, width=150),
    }
    picture = partial(_beliefs, models=models, language=language, n_steps=n_steps)
    return explore(
        picture, controls, size=(8.0, 4.5), grid=(1, 2), play="step",
        description="Two heat maps of letters against positions, the input distribution on the "
        "left and the output distribution on the right: as messages come in, every column "
        "sharpens to one letter, on the right before the left.",
    )


def badges(words, valid):
    """Strings as HTML, each with a mark that says whether it is valid."""
    return " ".join(map(_badge, words, valid))


def _badge(text, valid):
    colour = style.COLOURS.output if valid else style.COLOURS.sender
    mark = "✓" if valid else "✗"
    return (
        f'<span style="{MONOSPACE};border:1px solid {colour};border-radius:4px;padding:1px 6px;'
        f'margin:2px;display:inline-block">{html.escape(text)} <span style="color:{colour}">'
        f"{mark}</span></span>"
    )
