"""What a table of letters can infer exactly: the perfect network of a Markov chain, and a
transformer beside it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bfn_core.baselines.text import contexts
from bfn_core.checks import real
from bfn_core.data.text import check_classes
from bfn_core.networks.transformer import Transformer, guessed
from bfn_core.numerics import without_autocast

PIECE = 32  # sequences whose messages along the chain are held at once


class Chain(nn.Module):
    """The perfect network of a language in which a letter depends on the `order` − 1 before it:
    `network(inputs, t)`.

    Beliefs about single letters are evidence, each by itself; with the table of such a language the
    posterior of every letter given *all* beliefs is a sum over all texts. It is computed exactly by
    the forward-backward algorithm, whose states are the last `order` − 1 letters, in a time that
    grows as L · K^order. It has nothing to learn: `count` fills the table from a text.

    inputs: (B, L, K) probabilities, L at least order − 1; t is not used, since the beliefs say how
    much is known. Returns the logarithms of the posteriors, (B, L, K), in float32, without slopes.

    Args:
        classes: K.
        order: letters in a window, at least 2: 4 is a 4-gram.

    Raises:
        ValueError: an order below 2, or inputs of another shape.
    """

    starts: Tensor
    steps: Tensor

    def __init__(self, classes: int, order: int = 4) -> None:
        super().__init__()
        if order < 2:
            raise ValueError(f"order must be at least 2, got {order}")
        self.classes, self.order = classes, order
        even = torch.full((classes,) * order, 1.0 / classes)
        self.register_buffer("starts", torch.full(even.shape[1:], float(classes ** (1 - order))))
        self.register_buffer("steps", even)  # p(letter | the order − 1 before it)

    def count(self, text: Tensor, weight: float = 2.0) -> None:
        """Fill the table from a text, (N,) classes, as `baselines.text.ngram` counts.

        Raises:
            ValueError: anything but the classes 0…K − 1, or a weight that is not above 0.
        """
        check_classes("text", text, self.classes)
        weight = real("weight", weight, 0.0)
        tables = contexts(text.cpu(), self.classes, self.order, weight)
        starts = torch.ones((), dtype=torch.float64)
        for table in tables[:-1]:
            starts = starts.unsqueeze(-1) * table
        self.starts.copy_(starts)
        self.steps.copy_(tables[-1])

    @torch.no_grad()
    def forward(self, inputs: Tensor, t: Tensor | None = None) -> Tensor:
        least = self.order - 1
        if inputs.dim() != 3 or inputs.shape[-1] != self.classes or inputs.shape[1] < least:
            raise ValueError(f"inputs must be (B, L, {self.classes}) with L of at least {least}, "
                             f"got {tuple(inputs.shape)}")
        kind, dtype = inputs.device.type, torch.float32
        casts = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
        if casts and torch.get_autocast_dtype(kind) == torch.bfloat16:
            dtype = torch.bfloat16  # whose range is float32's; float16's is too small
        with without_autocast(kind):
            found = [self._posterior(piece.to(dtype)) for piece in inputs.split(PIECE)]
        return torch.cat(found).clamp_min(1e-20).log()

    def _posterior(self, beliefs: Tensor) -> Tensor:
        """Of each letter, (B, L, K).

        A message along the chain is held as (M, K, B): all but the last letter of its state, the
        last letter, the example. So neither step of the algorithm has to move one in memory.
        """
        size, length, k = beliefs.shape
        middle, dtype = k ** (self.order - 2), beliefs.dtype
        # By the letters that the state before and the state after share: (M, last, first).
        steps = self.steps.to(dtype).reshape(k, middle, k)
        forth, back = steps.permute(1, 2, 0).contiguous(), steps.transpose(0, 1).contiguous()
        heard = (k * beliefs).permute(1, 2, 0).contiguous()  # (L, K, B); k keeps products near 1

        start = self.starts.to(dtype).reshape(middle, k, 1)
        for place in range(self.order - 2):  # the letters of the first state, all but the last
            start = start.reshape(k**place, k, -1, start.shape[-1]) * heard[place].unsqueeze(1)
        said = [start.reshape(middle, k, -1) * heard[self.order - 2]]
        for place in range(self.order - 1, length):
            now = torch.bmm(forth, self._ahead(said[-1])).mul_(heard[place])
            # At every letter: eight unlikely ones in a row would leave float32.
            said.append(now.div_(now.sum((0, 1), keepdim=True)))

        found = torch.empty(length, k, size, dtype=torch.float32, device=beliefs.device)
        rest = torch.ones_like(said[0])
        for place in range(length - 1, self.order - 2, -1):
            found[place] = (said.pop() * rest).sum(0, dtype=torch.float32)
            rest = self._behind(torch.bmm(back, rest * heard[place]))
            rest = rest / rest.amax((0, 1), keepdim=True)
        first = (said.pop() * rest).float().reshape(*[k] * (self.order - 1), size)
        for place in range(self.order - 1):
            others = [axis for axis in range(self.order - 1) if axis != place]
            found[place] = first.sum(others) if others else first
        return (found / found.sum(1, keepdim=True)).permute(2, 0, 1)

    def _ahead(self, message: Tensor) -> Tensor:
        """Sorted by all but the first letter of the state, in place of all but the last."""
        middle, k, size = message.shape
        return message.reshape(k, middle, size).transpose(0, 1)

    def _behind(self, message: Tensor) -> Tensor:
        """`_ahead`, undone."""
        middle, k, size = message.shape
        return message.transpose(0, 1).reshape(middle, k, size)


class ChainTransformer(nn.Module):
    """A `Chain` and a `Transformer`, multiplied: `network(inputs, t)`.

    The two know different things: the chain weighs all texts by a table of short windows, the
    transformer sees from one end to the other. Their guesses and the belief itself, each to a power
    of its own, are multiplied, a product of experts (Hinton 2002); the powers depend on the time
    and are learnt with the transformer's weights. It begins with the square root of either.

    inputs: (B, L, K) probabilities; t: (B,) in [0, 1]. Returns K logits for each position. Before
    training, `count` fills the chain's table; `initial` weights may be a transformer's.

    Args:
        order: of the chain.
        knots: times, evenly spread, at which the powers are learnt; between them they lie on lines.
        told: whether the transformer reads the chain's guess beside the belief.
        self_conditioning: whether the product is a guess that the transformer reads when it
            guesses again, as in `Transformer`. With `told` the first guess is the chain's. A guess
            that is handed in, `network(inputs, t, guess=…)`, is read in place of both.
        The others are the transformer's.
    """

    def __init__(
        self,
        classes: int,
        length: int,
        *,
        order: int = 4,
        knots: int = 12,
        layers: int = 3,
        heads: int = 4,
        width: int = 128,
        reach: int = 0,
        positions: str = "learned",
        dropout: float = 0.0,
        told: bool = False,
        self_conditioning: bool = False,
    ) -> None:
        super().__init__()
        self.classes, self.length = classes, length
        self.told, self.self_conditioning = told, self_conditioning
        self.chain = Chain(classes, order)
        self.transformer = Transformer(classes, length, layers=layers, heads=heads, width=width,
                                       reach=reach, positions=positions, dropout=dropout,
                                       self_conditioning=told or self_conditioning)
        self.powers = nn.Parameter(torch.tensor([[0.5], [0.5], [0.0]]).repeat(1, knots))

    @property
    def blocks(self) -> nn.ModuleList:
        """The transformer's, whose matrices Muon moves."""
        return self.transformer.blocks

    def count(self, text: Tensor) -> None:
        """Fill the chain's table from a text, (N,) classes."""
        self.chain.count(text)

    def beginning(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """The weights to begin with where a transformer's are at hand, or those of a network that
        reads no guess: those, and one's own.
        """
        own = self.state_dict()
        if any(name.startswith("transformer.") for name in weights):
            new = "transformer.embed_guess.weight"
            return {new: own[new], **weights} if new in own else weights
        return {**own, **{f"transformer.{name}": w for name, w in weights.items()}}

    def forward(self, inputs: Tensor, t: Tensor, *, guess: Tensor | None = None) -> Tensor:
        place = t * (self.powers.shape[1] - 1)
        low = place.long().clamp(max=self.powers.shape[1] - 2)
        powers = torch.lerp(self.powers[:, low], self.powers[:, low + 1], place - low)
        table, net, own = powers[:, :, None, None]
        chain = self.chain(inputs)
        known = table * chain + own * inputs.float().clamp_min(1e-12).log()

        def once(guess: Tensor | None, rows: slice = slice(None)) -> Tensor:
            logits = self.transformer(inputs[rows], t[rows], guess=guess)
            return known[rows] + net[rows] * logits.float().log_softmax(-1)

        if guess is not None:
            return once(guess)
        if self.told:
            guess = chain.exp().to(inputs.dtype)
        if self.self_conditioning:
            even = torch.full_like(inputs, 1 / self.classes)
            guess = guessed(once, even if guess is None else guess, self.training)
        return once(guess)
