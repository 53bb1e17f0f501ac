"""Bits-back coding over the chain of beliefs.

To send x, Alice pops the last sum s_n given x off a stack of bits, and each sum before it given the
next; and pushes x given s_n, and each sum given the one before, as Bob expects it:

    pop s_n ~ N(β_n X, κ² β_n)               push x ~ p_O(· | θ(s_n); 1)
    for i = n … 2:  pop s_{i−1} | s_i        push s_i ~ p_R(· | θ(s_{i−1}))
                                             push s_1 ~ p_R(· | θ(0))

What she pops are bits she would have sent anyway, so the stack grows by −ln of one p over the
other: on average by L^n + L^r, (20). Bob does the same backwards, and s_1, s_2 … come off his stack
as they would come over the wire: his belief sharpens, and what Alice had popped comes back.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bfn_core.batches import check_condition
from bfn_core.beliefs import Condition, Data, Parameters, cut, first, in_precision, over, told
from bfn_core.checks import real, whole
from bfn_core.clocks import Retimed
from bfn_core.compression.channels import channels_of, places_of
from bfn_core.compression.packed import Packed
from bfn_core.compression.stack import Stack, seed_words
from bfn_core.distributions import Output
from bfn_core.flows import ContinuousFlow
from bfn_core.model import BFN
from bfn_core.schedules import Schedule, TableSchedule

CELLS = 2.0  # to a standard deviation: narrower ones save no bits


@dataclass(frozen=True)
class Moment:
    """Where the coder stands.

    Attributes:
        i: messages that the belief holds, 0…n.
        bits: height of the stack.
        theta: the belief at i/n, and
        output: the network's guess from it; both None before the first belief.
    """

    i: int
    bits: int
    theta: Parameters = None
    output: Output = None


Watch = Callable[[Moment], None]


class Codec:
    """Codes blocks of examples on a stack.

    Computes in float64 on the CPU, with a copy of the model. Encoder and decoder must have the
    model, and blocks, of one size: a network may round otherwise in a batch of another.

    Args:
        bfn: the model.
        n: number of messages.
        cells: to a standard deviation.
        places: of mixed data by name, else under "": the binary places of real numbers.
        watch: is told each moment.
    """

    def __init__(
        self, bfn: BFN, n: int, *, cells: float = CELLS, places: dict[str, int] | None = None,
        watch: Watch | None = None,
    ) -> None:
        self.n = whole("n", n)
        self.bfn = copy.deepcopy(bfn).cpu().double().eval()
        self.bfn.flow = bfn.flow.trusting()
        self.channels = channels_of(bfn.flow, self.n, real("cells", cells, 0.0), places or {})
        self.watch = watch

    def encode(self, stack: Stack, x: Data, condition: Condition = None) -> None:
        """Put a block of examples, (B, *shape), on the stack."""
        condition = _beside(condition)
        shapes, symbols = shapes_of(x), self.symbols(x)
        self._tell(stack, self.n)
        parts = self.channels.items()
        s = {name: channel.draw_told(stack, symbols[name]) for name, channel in parts}
        guess = self._guess(stack, s, self.n, shapes, condition)
        for name, channel in parts:
            channel.push_value(stack, symbols[name], guess[name])
        for i in range(self.n, 0, -1):
            self._tell(stack, i)
            before = {name: self._earlier(stack, s[name], name, i - 1) for name in s}
            guess = self._guess(stack, before, i - 1, shapes, condition)
            for name, channel in parts:
                channel.push_message(stack, s[name], before[name], i, guess[name])
            s = before
        self._tell(stack, 0)

    def decode(self, stack: Stack, shapes: dict[str, tuple], condition: Condition = None) -> Data:
        """Take a block off the stack: what `encode` does, in the opposite order.

        Args:
            shapes: (B, *shape) by name, "" where the data are one tensor.
        """
        condition = _beside(condition)
        parts = list(reversed(self.channels.items()))
        s = {name: c.nothing(int(np.prod(shapes[name]))) for name, c in self.channels.items()}
        for i in range(1, self.n + 1):
            guess = self._guess(stack, s, i - 1, shapes, condition)
            after = {name: c.pop_message(stack, s[name], i, guess[name]) for name, c in parts}
            self._tell(stack, i)
            if i > 1:
                for name, channel in parts:
                    channel.return_bridge(stack, s[name], after[name], i - 1)
            s = after
        guess = self._guess(stack, s, self.n, shapes, condition)
        symbols = {name: channel.pop_value(stack, guess[name]) for name, channel in parts}
        for name, channel in parts:
            channel.return_told(stack, s[name], symbols[name])
        self._tell(stack, self.n)
        values = {name: c.values(symbols[name], shapes[name]) for name, c in self.channels.items()}
        return values.get("", values)

    def symbols(self, x: Data) -> dict[str, np.ndarray]:
        """Data as whole numbers."""
        parts = named(x)
        return {name: channel.symbols(parts[name]) for name, channel in self.channels.items()}

    def seed_bits(self, shapes: dict[str, tuple]) -> float:
        """Bits, roughly, that are popped before the first are pushed, for a block of `shapes`."""
        return sum(c.peak() * np.prod(shapes[name]) for name, c in self.channels.items())

    def _earlier(self, stack: Stack, after: np.ndarray, name: str, i: int) -> np.ndarray:
        channel = self.channels[name]
        return channel.draw_bridge(stack, after, i) if i else channel.nothing(len(after))

    @torch.no_grad()
    def _guess(self, stack: Stack, s: dict, i: int, shapes: dict, condition: Condition) -> dict:
        beliefs = {name: c.belief(s[name], i, shapes[name]) for name, c in self.channels.items()}
        theta = beliefs.get("", beliefs)
        output = self.bfn.output(theta, i / self.n, **told(condition))
        self._tell(stack, i, theta, output)
        parts = {"": output} if "" in beliefs else output
        return {name: c.guess(parts[name], i) for name, c in self.channels.items()}

    def _tell(self, stack: Stack, i: int, *more) -> None:
        if self.watch is not None:
            self.watch(Moment(i, stack.bits, *more))


def compress(
    bfn: BFN, x: Data, n: int,
    *, lanes: int = 1, seed: int = 0, cells: float = CELLS, condition: Condition = None,
    watch: Watch | None = None,
) -> Packed:
    """Code data without loss, at L^n + L^r for each example and a seed for all of them.

    Args:
        bfn: the model, which the decoder must have too.
        x: data, (N, *shape), for mixed data a dict. Real numbers must be whole multiples of some
            2^−k, k ≤ 50, and cost k bits each beside their density.
        n: number of messages; more of them cost fewer bits and more time.
        lanes: examples that are coded at once, for speed; the seed grows with them.
        seed: of the random bits that lie on the stack at the start.
        cells: that a standard deviation of a message is divided into.
        condition: what the network is told, for each of the N; the decoder must be told it too.
        watch: is told every moment.

    Raises:
        ValueError: x, n, lanes or cells is not valid, or conditions that are not N.
        ImportError: constriction is not installed.
    """
    lanes = whole("lanes", lanes)
    bfn.flow.check(x)
    check_condition(condition, len(first(x)))
    flows = getattr(bfn.flow, "flows", {"": bfn.flow})
    places = {k: places_of(v) for k, v in named(x).items() if isinstance(flows[k], ContinuousFlow)}
    codec = Codec(bfn, n, cells=cells, places=places, watch=watch)
    shapes, count = shapes_of(x), len(first(x))
    blocks = [slice(start, start + lanes) for start in range(0, count, lanes)]

    def coded(bottom: np.ndarray) -> Stack:
        stack = Stack(bottom)
        for block in blocks:
            codec.encode(stack, cut(x, block), cut(condition, block))
        return stack

    bits = codec.seed_bits(blocks_shapes(shapes, min(lanes, count)))
    room = 64 + int(bits * 1.25 / 32)
    while (stack := coded(seed_words(seed, room))).lowest <= MARGIN and count:
        room *= 2
    unread = max(0, stack.lowest - MARGIN)
    kinds = {name: str(part.dtype).removeprefix("torch.") for name, part in named(x).items()}
    return Packed(
        words=stack.words()[unread:], count=count, n=codec.n, lanes=lanes, seed=seed,
        seed_words=room - unread, cells=float(cells), places=places,
        shapes={name: tuple(shape[1:]) for name, shape in shapes.items()}, dtypes=kinds,
        model=digest_of(codec.bfn), checksum=checksum_of(codec.symbols(x)),
    )


MARGIN = 4  # words at the bottom that are kept, though perhaps not read: the coder holds two


def decompress(
    bfn: BFN, packed: Packed, *, condition: Condition = None, watch: Watch | None = None
) -> Data:
    """What was compressed, (N, *shape), on the CPU; bit for bit, but for bins, which come back as
    `flow.centres` says.

    Args:
        bfn: the model it was compressed with.
        packed: what `compress` gave.
        condition: what it was given beside x.
        watch: is told every moment.

    Raises:
        ValueError: another model, conditions that are not N, or what comes out is not what was
            packed.
        ImportError: constriction is not installed.
    """
    codec = Codec(bfn, packed.n, cells=packed.cells, places=packed.places, watch=watch)
    if (found := digest_of(codec.bfn)) != packed.model:
        raise ValueError(
            f"the data were packed with another model: its digest is {packed.model}, and that of "
            f"this one {found}"
        )
    check_condition(condition, packed.count)
    stack = Stack(packed.words, sealed=True)
    blocks = []
    for start in reversed(range(0, packed.count, packed.lanes)):
        size = min(packed.lanes, packed.count - start)
        shapes = {name: (size, *shape) for name, shape in packed.shapes.items()}
        part = cut(condition, slice(start, start + size))
        blocks.insert(0, codec.decode(stack, shapes, part))
    x = _joined(blocks, packed)
    left = stack.unsealed()
    whole_again = left is not None and np.array_equal(
        left, seed_words(packed.seed, packed.seed_words)
    )
    if not whole_again or checksum_of(codec.symbols(x)) != packed.checksum:
        raise ValueError(
            "what came out is not what was packed: the words are damaged, or this computer rounds "
            "other than the one that packed them"
        )
    return x


def _joined(blocks: list, packed: Packed) -> Data:
    parts = {}
    for name, shape in packed.shapes.items():
        dtype = getattr(torch, packed.dtypes[name])
        found = [named(block)[name] for block in blocks] or [torch.zeros((0, *shape))]
        parts[name] = torch.cat(found).to(dtype)
    return parts.get("", parts)


def _beside(condition: Condition) -> Condition:
    """A condition where the coder's copy of the model is, and in its precision."""
    return in_precision(over(lambda part: part.cpu(), condition), torch.float64)


def named(x: Data) -> dict[str, Tensor]:
    """The parts of data by name, "" where they are one tensor."""
    return x if isinstance(x, dict) else {"": x}


def shapes_of(x: Data) -> dict[str, tuple]:
    """(B, *shape) by name."""
    return {name: tuple(part.shape) for name, part in named(x).items()}


def blocks_shapes(shapes: dict[str, tuple], size: int) -> dict[str, tuple]:
    """The same of a block of another size."""
    return {name: (size, *shape[1:]) for name, shape in shapes.items()}


def digest_of(bfn: BFN) -> str:
    """Sixteen hexadecimal digits that tell a model from others: of its flow and weights."""
    content = hashlib.sha256(repr(bfn.flow).encode())
    for flow in getattr(bfn.flow, "flows", {"": bfn.flow}).values():
        for numbers in _tables(getattr(flow, "schedule", None)):  # a repr says but the end
            content.update(numbers.numpy().tobytes())
    for name, tensor in sorted(bfn.state_dict().items()):
        content.update(f"{name} {tuple(tensor.shape)}".encode())
        content.update(tensor.contiguous().numpy().tobytes())
    return content.hexdigest()[:16]


def _tables(schedule: Schedule | None) -> Iterator[Tensor]:
    """The tables in a schedule, or in one that it retimes."""
    if isinstance(schedule, TableSchedule):
        yield from schedule.points
    elif isinstance(schedule, Retimed):
        yield from _tables(schedule.schedule)


def checksum_of(symbols: dict[str, np.ndarray]) -> str:
    """Sixteen hexadecimal digits of data as whole numbers."""
    content = hashlib.sha256()
    for name, part in symbols.items():
        content.update(f"{name} {part.size}".encode() + part.astype("<i8").tobytes())
    return content.hexdigest()[:16]
