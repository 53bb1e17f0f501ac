"""The README's moving picture: `python -m tools.moving_picture` writes assets/belief_flow.svg.

Two acts, both with the shipped MNIST weights. Alice tells Bob a digit, which they once drew, in
noisy messages, and every message is paid for in bits; then Bob goes on alone and draws messages
from the network's own guess, until a new digit stands. Each panel is a strip of frames, one for
each number of messages, which CSS moves along behind a window: no script, no other file. Whoever
has asked for less motion sees one moment of the first act.

The same bytes on one machine; on another, the last digit of a sum may tip a pixel of act two.
"""

import base64
import html
import io
import math
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from bfn_core import BFN
from bfn_core.binary_images import converse
from bfn_core.data import drawn_digits
from bfn_core.data.assets import CHECKOUT
from bfn_core.distributions import Categorical
from bfn_core.training import shipped
from bfn_core.views.kit.style import COLOURS

TARGET = CHECKOUT / "belief_flow.svg"
MESSAGES = 50
DIGIT = 19  # a plain 2 of the 64 in assets/mnist.png; most can be read as easily, some cannot
SEEDS = (1, 9)  # of the two acts; most others give plain digits too, and some none
DRAWS = 64  # of each message's price, to average
LEVELS = 16  # shades of a panel
STILL = 0.36  # the time t that is shown where nothing moves
# Seconds: the prior to look at, the messages, the end to look at, and the change of scene.
WAIT, RUN, HOLD, FADE = 0.8, 6.0, 2.0, 0.4
ACT = WAIT + RUN + HOLD + FADE

TITLE = "A Bayesian Flow Network at work"
ALT = (
    "First, Alice tells Bob a handwritten digit in fifty noisy messages: his belief sharpens from "
    "grey, the network reads it and guesses the digit long before it is plain, and the bits "
    "paid add up. Then Bob draws the messages from the guess itself, and a new digit forms."
)
WIDTH, HEIGHT, SIDE, GAP, LEFT, TOP = 880, 346, 168, 52, 26, 78
DARK = dict(data="#C9C9C9", sender="#F0883E", input="#58A6E8", output="#2EC49A")
# What stands over a panel, what the paper calls it, and which colour it has.
PANELS = (
    ("Alice’s digit", "data x", "data"),
    ("a noisy message", "sender distribution", "sender"),
    ("Bob’s belief", "input distribution", "input"),
    ("the network’s guess", "output distribution", "output"),
)
PIXELS, BAR = 28 * 28, 430  # of a digit; the length of the bar that stands for so many bits
ARROWS = ("noise", "Bayes", "network")


@dataclass(frozen=True)
class Act:
    """What an act shows after i = 0…n messages.

    Attributes:
        strips: probabilities of ink, (n + 1, 28, 28), for the panels sender, input, output.
        bits: paid after i messages, (n + 1,), and last with the digit itself; empty in act two.
    """

    strips: tuple[Tensor, Tensor, Tensor]
    bits: tuple[float, ...] = ()


def loudness(evidence: Tensor) -> Tensor:
    """A message, in units of its noise, as a shade: ½ says nothing, 1 speaks loudly for ink."""
    said = (0.5 + evidence / 6).clamp(0, 1)
    return torch.cat([torch.full_like(said[:1], 0.5), said])  # before the first: silence


def telling(bfn: BFN, digit: Tensor, n: int, seed: int) -> Act:
    """Act one: n messages about one digit, (1, 28, 28)."""
    generator = torch.Generator().manual_seed(seed)
    talk = converse(bfn, digit, n, generator=generator)
    guesses = Categorical(torch.stack([1 - talk.guesses, talk.guesses], -1).log())
    x = talk.digit.expand(n, 28, 28)
    alphas = bfn.flow.alpha(torch.arange(1, n + 1).float(), n)
    before = Categorical(guesses.log_probs[:-1])
    prices = [bfn.flow.step_cost(x, before, alphas, generator) for _ in range(DRAWS)]
    nats = torch.stack(prices).mean(0).flatten(1).sum(1).cumsum(0)
    paid = [0.0, *nats.tolist(), float(nats[-1]) + talk.last]
    strips = (loudness(talk.messages), talk.beliefs, talk.guesses)
    return Act(strips, tuple(value / math.log(2) for value in paid))


def dreaming(bfn: BFN, n: int, seed: int) -> Act:
    """Act two: a sample, with the messages that Bob draws for himself."""
    generator = torch.Generator().manual_seed(seed)
    steps = list(bfn.sampling_steps((1, 1, 28, 28), n, generator=generator))
    logits = torch.cat([step.theta.logits[:, 0] for step in steps])
    odds = logits[..., 1] - logits[..., 0]  # they grow by what the messages say for ink
    alphas = bfn.flow.alpha(torch.arange(1, n + 1).float(), n).reshape(-1, 1, 1)
    noise = (2 * alphas * bfn.flow.classes).sqrt()  # of the difference of two components
    guesses = torch.cat([step.output.probs[:, 0, ..., 1] for step in steps])
    return Act((loudness(odds.diff(dim=0) / noise), odds.sigmoid(), guesses))


# The frames.


def png(frames: Tensor, colour: str) -> str:
    """Frames (N, H, W) of [0, 1] side by side, white to `colour`, each in a white margin of 1."""
    margin = torch.nn.functional.pad(frames, (1, 1, 1, 1))
    strip = (margin.permute(1, 0, 2).flatten(1) * (LEVELS - 1)).round().to(torch.uint8)
    picture = Image.fromarray(strip.numpy()).convert("P")
    ink = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    shades = [k / (LEVELS - 1) for k in range(LEVELS)]
    picture.putpalette([round(255 + s * (c - 255)) for s in shades for c in ink])
    buffer = io.BytesIO()
    picture.save(buffer, format="png", optimize=True, bits=4)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def panel(column: int, content: str) -> str:
    """A window of one frame at its place, with its frame line; dashed where there is nothing."""
    x = LEFT + column * (SIDE + GAP)
    kind = PANELS[column][2]
    place = f'x="{x}" y="{TOP}" width="{SIDE}" height="{SIDE}"'
    if not content:
        return f'<rect class="line {kind}" {place} stroke-dasharray="5 5" opacity=".4"/>'
    window = f'<svg {place} viewBox="1 1 28 28">{content}</svg>'
    return f'{window}<rect class="line {kind}" {place}/>'


def strip(frames: Tensor, kind: str, act: int) -> str:
    """All frames of a panel; CSS shows one after the other."""
    drawn = png(frames, getattr(COLOURS, kind))
    width, height = 30 * len(frames), frames.shape[1] + 2
    return f'<image class="strip{act}" width="{width}" height="{height}" href="{drawn}"/>'


def counter(lines: list[str], x: int, act: int, anchor: str = "start") -> str:
    """Lines of text of which one shows at a time, with the bottom line at y = 330."""
    height = 24
    texts = "".join(
        f'<text x="{0 if anchor == "start" else 200}" y="{height * i + 17}" '
        f'text-anchor="{anchor}">{html.escape(line)}</text>'
        for i, line in enumerate(lines)
    )
    window = f'<svg x="{x}" y="313" width="200" height="{height}">'
    return f'{window}<g class="lines{act}">{texts}</g></svg>'


# The page.


LOOK = (
    "text{font:14px -apple-system,BlinkMacSystemFont,'Segoe UI',Helvetica,Arial,sans-serif;"
    "fill:var(--ink)}.head{font-size:18px;font-weight:600}.name{font-weight:600;fill:var(--c)}"
    ".small{font-size:12px;fill:var(--faint)}.line{fill:none;stroke:var(--c);stroke-width:1.5}"
    ".arrow{fill:none;stroke:var(--faint);stroke-width:1.5}.tip{fill:var(--faint)}"
    ".card{fill:var(--card);stroke:var(--edge)}.track{fill:var(--edge)}"
    ".bar1{fill:var(--c);transform-box:fill-box;transform-origin:left}"
    "image{image-rendering:pixelated}.two{opacity:0}"
)


def style(first: Act) -> str:
    """Colours for a light and a dark page, and what moves."""
    n = len(first.strips[0]) - 1
    still = round(STILL * n)
    shares = [bits / PIXELS for bits in first.bits[: n + 1]]
    light = "".join(f".{k}{{--c:{getattr(COLOURS, k)}}}" for _, _, k in PANELS)
    dark = "".join(f".{k}{{--c:{colour}}}" for k, colour in DARK.items())
    return (
        f"{LOOK}svg{{--card:#fff;--ink:#1f2328;--faint:#59636e;--edge:#d1d9e0}}{light}"
        "@media(prefers-color-scheme:dark)"
        f"{{svg{{--card:#0d1117;--ink:#f0f6fc;--faint:#9198a1;--edge:#3d444d}}{dark}}}"
        f".strip1{{transform:translateX(-{30 * still}px)}}"
        f".lines1{{transform:translateY(-{24 * still}px)}}"
        f".bar1{{transform:scaleX({shares[still]:.4f})}}"
        f"@media(prefers-reduced-motion:no-preference){{{motion(n, shares)}}}"
    )


def motion(n: int, shares: list[float]) -> str:
    """Keyframes: the strips go one frame on with each message, the acts fade into each other."""
    loop = 2 * ACT

    def at(seconds: float) -> str:
        return f"{100 * seconds / loop:.3f}%"

    def moves(name: str, act: int, last: str) -> str:
        start = act * ACT + WAIT
        return (
            f"@keyframes {name}{act + 1}{{0%,{at(start)}{{transform:none;"
            f"animation-timing-function:steps({n})}}{at(start + RUN)},100%{{transform:{last}}}}}"
            f".{name}{act + 1}{{animation:{name}{act + 1} {loop:g}s infinite}}"
        )

    strips = "".join(moves("strip", act, f"translateX(-{30 * n}px)") for act in (0, 1))
    lines = "".join(moves("lines", act, f"translateY(-{24 * n}px)") for act in (0, 1))
    fills = "".join(
        f"{at(WAIT + RUN * i / n)}{{transform:scaleX({share:.4f})}}"
        for i, share in enumerate(shares)
    )
    change, end = ACT - FADE, loop - FADE
    return (
        f"{strips}{lines}@keyframes bar1{{0%{{transform:scaleX(0)}}{fills}"
        f"100%{{transform:scaleX({shares[-1]:.4f})}}}}.bar1{{animation:bar1 {loop:g}s infinite}}"
        f"@keyframes one{{0%{{opacity:0}}{at(FADE)},{at(change)}{{opacity:1}}"
        f"{at(ACT)},100%{{opacity:0}}}}"
        f"@keyframes two{{0%,{at(change)}{{opacity:0}}{at(ACT)},{at(end)}{{opacity:1}}"
        "100%{opacity:0}}"
        f".one{{animation:one {loop:g}s infinite}}.two{{animation:two {loop:g}s infinite}}"
    )


def heading(words: str) -> str:
    """What happens in this act."""
    return f'<text class="head" x="{LEFT}" y="36">{words}</text>'


def labels(names: list[tuple[str, str]]) -> str:
    """What stands over and under each panel."""
    lines = []
    for column, (name, term) in enumerate(names):
        middle = LEFT + column * (SIDE + GAP) + SIDE / 2
        kind = PANELS[column][2]
        for place, y, words in ((f"name {kind}", TOP - 10, name), ("small", TOP + SIDE + 17, term)):
            if words:
                lines.append(
                    f'<text class="{place}" x="{middle:g}" y="{y}" text-anchor="middle">'
                    f"{words}</text>"
                )
    return "".join(lines)


def arrow(column: int, words: str) -> str:
    """From a panel to the next."""
    x, y = LEFT + SIDE + column * (SIDE + GAP), TOP + SIDE / 2
    return (
        f'<path class="arrow" d="M{x + 6} {y:g}h{GAP - 18}"/>'
        f'<path class="tip" d="M{x + GAP - 5} {y:g}l-9 -5v10z"/>'
        f'<text class="small" x="{x + GAP / 2:g}" y="{y - 9:g}" text-anchor="middle">{words}</text>'
    )


def page(first: Act, second: Act, digit: Tensor) -> str:
    """The whole picture."""
    n = len(first.strips[0]) - 1
    kinds = [kind for _, _, kind in PANELS]
    still = png(digit.float(), COLOURS.data)
    alice = panel(0, f'<image width="30" height="30" href="{still}"/>')
    acts = [
        "".join(
            panel(column, strip(frames, kinds[column], act))
            for column, frames in enumerate(content.strips, start=1)
        )
        for act, content in ((1, first), (2, second))
    ]
    told = [f"message {i} of {n}" for i in range(n + 1)]
    paid = [f"{bits:.0f} bits paid" for bits in first.bits[:n]]
    paid.append(f"{first.bits[-1]:.0f} bits, digit and all")
    names = [(name, term) for name, term, _ in PANELS]
    alone = [("nobody", ""), ("a noisy message", "drawn from the guess"), *names[2:]]
    arrows = [arrow(column, words) for column, words in enumerate(ARROWS)]
    left, right = (LEFT + column * (SIDE + GAP) + SIDE / 2 for column in (1, 3))
    low = TOP + SIDE + 28
    back = (
        f'<path class="arrow" d="M{right:g} {low - 4}v16q0 6 -6 6H{left + 6:g}q-6 0 -6 -6v-8"/>'
        f'<path class="tip" d="M{left:g} {low - 6}l-5 9h10z"/>'
    )
    bar = (
        f'<rect class="track" x="190" y="321" width="{BAR}" height="10" rx="2"/>'
        f'<rect class="sender bar1" x="190" y="321" width="{BAR}" height="10"/>'
        f'<text class="small" x="{190 + BAR}" y="313" text-anchor="end">'
        f"one bit for each pixel: {PIXELS}</text>"
    )
    return f'''<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" \
width="{WIDTH}" height="{HEIGHT}" role="img">
<title>{TITLE}</title>
<desc>{ALT}</desc>
<style>{style(first)}</style>
<rect class="card" x=".5" y=".5" width="{WIDTH - 1}" height="{HEIGHT - 1}" rx="8"/>
<g class="one">
{heading("Alice tells Bob a digit, in noisy messages, and pays in bits")}
{labels(names)}{"".join(arrows)}
{alice}
{acts[0]}
{counter(told, LEFT, 1)}{bar}{counter(paid, WIDTH - LEFT - 200, 1, "end")}
</g>
<g class="two">
{heading("Then Bob goes on alone: his messages are drawn from the network’s guess")}
{labels(alone)}{"".join(arrows[1:])}{back}
{panel(0, "")}
{acts[1]}
{counter(told, LEFT, 2)}
<text x="{WIDTH - LEFT}" y="330" text-anchor="end">nobody sends, and a new digit forms</text>
</g>
</svg>
'''


def picture(n: int = MESSAGES) -> str:
    """The text of the SVG, from the shipped weights."""
    bfn = shipped("mnist")
    digit = drawn_digits()[DIGIT]
    return page(telling(bfn, digit, n, SEEDS[0]), dreaming(bfn, n, SEEDS[1]), digit)


if __name__ == "__main__":
    TARGET.write_text(picture(), encoding="utf-8", newline="\n")
    print(f"{TARGET.name}: {TARGET.stat().st_size / 1000:.0f} kB")
