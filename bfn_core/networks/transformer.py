"""A transformer for sequences of classes, from 0.2 to 170 million parameters by its arguments."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from bfn_core.beliefs import cut
from bfn_core.networks.attention import attend, rotations, zeroed
from bfn_core.networks.conditions import Conditions


class Transformer(nn.Module):
    """A transformer in which every position sees every other: `network(inputs, t)`, or with a
    condition, `network(inputs, t, condition)`.

    inputs: (B, L, K) probabilities; t: (B,) in [0, 1]. Returns K logits for each position,
    (B, L, K). L is at most `length`.

    Args:
        classes: K.
        length: the longest sequence it can read.
        layers: blocks of attention and MLP, one after the other.
        heads: of each attention; a divisor of width.
        width: numbers that stand for a position; each layer has 12 · width² weights.
        reach: how many neighbours to each side are read together with each position by the first
            layer, a convolution. With a few, a small network need not first learn where its
            neighbours are, which takes longer than learning spelling from them.
        positions: "learned", a vector for each that is added to it; or "rotary", by which attention
            sees how far apart two positions stand (`attention.rotations`), and learns faster.
        dropout: rate, at the end of each attention and of each MLP.
        prior_skip: add ln(inputs) to the logits, so that an untrained network returns its input:
            what the messages alone say about each position.
        labels: classes of a label that the network may be told as a condition; 0: none.
        hints: numbers at each position, (B, L, hints), that it may be told, see `Conditions`.
        self_conditioning: read a guess, (B, L, K) probabilities, beside the belief:
            `network(inputs, t, guess=…)`. Where none is handed in, it guesses twice and reads its
            first guess when it makes the second; in training, every other example does. Slopes are
            those of the last guess alone. In Chen et al. 2023, "Analog Bits", arXiv 2208.04202,
            the guess is that of the sampler's step before; here it is of the same belief, so that
            the network remains a function of θ and t: the losses, every sampler and the code of
            a file ask for that. Each belief costs two calls.

    Raises:
        ValueError: heads that do not divide width, positions of another name, inputs or a guess
            that are not (B, ≤ length, K), or a guess for a network that reads none.

    Compared with the paper's network for text8, which published.py has to the parameter. As there,
    with `layers=24, heads=12, width=768`: depth, heads, width, no causal mask, blocks that
    normalise first, with GELU, and 170 million parameters. Different: positions, which there are
    fixed waves; the time, added to every position as Fourier features through two layers, there as
    one number through one; the last layer, which there reads the input too; projections that start
    at zero; and `prior_skip` and `reach`, with which training starts from a good guess and gets on
    faster.
    """

    def __init__(
        self,
        classes: int,
        length: int,
        *,
        layers: int = 3,
        heads: int = 4,
        width: int = 128,
        reach: int = 0,
        positions: str = "learned",
        dropout: float = 0.0,
        prior_skip: bool = True,
        labels: int = 0,
        hints: int = 0,
        self_conditioning: bool = False,
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"heads must divide width, got {heads} heads and a width of {width}")
        if positions not in ("learned", "rotary"):
            raise ValueError(f'positions must be "learned" or "rotary", got {positions!r}')
        self.classes, self.length, self.prior_skip = classes, length, prior_skip
        self.conditions = Conditions(labels, hints, width)
        self.embed = nn.Conv1d(classes + hints, width, 2 * reach + 1, padding=reach)
        self.embed_guess = None  # unless used: its draws would move the weights below
        if self_conditioning:  # from zeros: as if there were no guess, whose features are zeros
            self.embed_guess = zeroed(nn.Conv1d(classes, width, 2 * reach + 1, padding=reach,
                                                bias=False))
        learned = positions == "learned"
        self.position = nn.Parameter(0.5 * torch.randn(length, width)) if learned else None
        turns = None if learned else rotations(length, width // heads)
        self.turns: Tensor | None
        self.register_buffer("turns", turns, persistent=False)
        self.time = TimeEmbedding(width)
        self.blocks = nn.ModuleList([Block(width, heads, dropout) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)
        self.head = zeroed(nn.Linear(width, classes))

    def forward(
        self, inputs: Tensor, t: Tensor, condition=None, *, guess: Tensor | None = None
    ) -> Tensor:
        size = inputs.shape[-2] if inputs.ndim == 3 else 0
        if not 0 < size <= self.length or inputs.shape[-1] != self.classes:
            raise ValueError(
                f"inputs have shape {tuple(inputs.shape)}, but (B, L, K) with L up to "
                f"{self.length} and K = {self.classes} is expected"
            )
        if guess is not None and (self.embed_guess is None or guess.shape != inputs.shape):
            reads = "none" if self.embed_guess is None else f"one of shape {tuple(inputs.shape)}"
            raise ValueError(f"a guess of shape {tuple(guess.shape)} was handed in, but this "
                             f"network reads {reads}")
        if self.embed_guess is not None and guess is None:
            def once(guess: Tensor, rows: slice) -> Tensor:
                return self._once(inputs[rows], t[rows], cut(condition, rows), guess)

            guess = guessed(once, torch.full_like(inputs, 1 / self.classes), self.training)
        return self._once(inputs, t, condition, guess)

    def _features(self, inputs: Tensor) -> Tensor:
        """Uniform probabilities become 0, and a certain one a vector whose length is about √K."""
        return (self.classes * inputs - 1) / math.sqrt(self.classes)

    def _once(self, inputs: Tensor, t: Tensor, condition, guess: Tensor | None) -> Tensor:
        size, features = inputs.shape[1], self._features(inputs)
        label, hints = self.conditions(condition, features, channels=2)
        features = features if hints is None else torch.cat([features, hints], 2)
        h = self.embed(features.transpose(1, 2))
        if self.embed_guess is not None and guess is not None:
            h = h + self.embed_guess(self._features(guess).transpose(1, 2))
        h = h.transpose(1, 2)  # (B, L, width)
        h = h + (self.time(t) + label)[:, None]
        if self.position is not None:
            h = h + self.position[:size]
        turns = None if self.turns is None else self.turns[:, :size]
        for block in self.blocks:
            h = block(h, turns)
        raw = self.head(self.norm(h))
        return raw + inputs.clamp_min(1e-12).log() if self.prior_skip else raw


def guessed(
    once: Callable[[Tensor, slice], Tensor], first: Tensor, training: bool
) -> Tensor:
    """The guess that a network reads which guesses twice, (B, L, K) probabilities.

    Args:
        once: a first guess, and the examples that it is about, to logits.
        first: what is read at first, (B, L, K).
        training: whether every other example keeps `first`, so that both calls are learnt. Times
            are spread evenly over a batch in its order, and so they are over either half.
    """
    with torch.no_grad():
        rows = slice(int(torch.randint(2, ())), None, 2) if training else slice(None)
        guess = first.clone()
        guess[rows] = once(first[rows], rows).float().softmax(-1).to(guess.dtype)
        return guess


class Remembering(nn.Module):
    """A network that reads guesses, for one drawing: it reads the guess that it made last.

    So each step of a sampler takes one call, where the network alone takes two; the first step
    takes two here as well. It is the self-conditioning of Chen et al. 2023. What it returns depends
    on what it was asked before, so it is for `BFN(flow, Remembering(network)).sample` alone, once,
    and not for a loss, a bill or a code; `forget` makes it ready for another drawing.

    Args:
        network: called as `network(inputs, t, guess=…)`; it is not copied.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.forget()

    def forget(self) -> None:
        """What was guessed; the next call makes a first guess of its own."""
        self.last: Tensor | None = None

    @torch.no_grad()
    def forward(self, inputs: Tensor, t: Tensor, *condition) -> Tensor:
        raw = self.network(inputs, t, *condition, guess=self.last)
        self.last = raw.float().softmax(-1).to(inputs.dtype)
        return raw


class TimeEmbedding(nn.Module):
    """t, (B,), as (B, width): sines and cosines of 2π t · 2^j / 4, j = 0…, through two layers."""

    def __init__(self, width: int, waves: int = 8) -> None:
        super().__init__()
        self.waves: Tensor
        self.register_buffer("waves", 2 * math.pi * 2.0 ** (torch.arange(waves) - 2.0),
                             persistent=False)
        self.layers = nn.Sequential(
            nn.Linear(2 * waves, width), nn.SiLU(), nn.Linear(width, width)
        )

    def forward(self, t: Tensor) -> Tensor:
        angles = t[:, None] * self.waves
        return self.layers(torch.cat([angles.sin(), angles.cos()], 1))


class Block(nn.Module):
    """Attention among the positions, then an MLP at each; both are added to what comes in."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, nn.Dropout(dropout)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = zeroed(nn.Linear(width, width))
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), zeroed(nn.Linear(4 * width, width))
        )

    def forward(self, x: Tensor, turns: Tensor | None = None) -> Tensor:
        x = x + self.dropout(self.out(attend(self.qkv(self.norm1(x)), self.heads, turns)))
        return x + self.dropout(self.mlp(self.norm2(x)))
