"""A stack of bits: what is pushed under a distribution costs −log₂ p, what is popped gives it.

To push a value makes the stack higher by its information content; to pop one under the same
distribution takes just as much off. Popped from random bits, a value is a draw from the
distribution, and the bits are not lost: to push the value puts them back.
"""

from __future__ import annotations

import hashlib
from types import ModuleType

import numpy as np

REACH = 12.0  # standard deviations to either side that a normal's table holds
WIDEST = 1 << 15  # and cells; in a wider table the least probability, 2^−24, would add up
ESCAPED = 48  # bits for a value that lies beyond its table
CHUNK = 16  # bits that are pushed at once where all values are equally likely


def constriction() -> ModuleType:
    """The library that codes.

    Raises:
        ImportError: it is not installed; the message says what to do.
    """
    try:
        import constriction
    except ImportError:
        raise ImportError(
            'compression needs the package constriction: pip install "constriction>=0.4.1,<0.6" '
            "(on Linux with an ARM processor there is no ready-made one, and pip needs Rust's "
            "compiler)"
        ) from None
    return constriction


def seed_words(seed: int, count: int) -> np.ndarray:
    """Random words for the bottom of a stack, (count,) uint32, the same everywhere.

    Those of a smaller count are the last of a larger one: the top of the stack.
    """
    stream = hashlib.shake_256(f"bfn_core {seed}".encode()).digest(4 * count)
    return np.frombuffer(stream, "<u4").astype(np.uint32)[::-1]


def _plain(parameters: np.ndarray) -> np.ndarray:
    """Row after row, since constriction takes no notice of another layout in memory."""
    return np.ascontiguousarray(parameters, np.float64)


class Stack:
    """Bits to push values on and to pop values from (asymmetric numeral systems).

    Distributions are over whole numbers, and values are int64, (N,). What is popped under some
    arguments is restored by a push under the same.

    Args:
        words: what lies on it, (W,) uint32, the bottom first.
        sealed: whether `words` are what `words()` of a stack gave; random ones are not.
    """

    def __init__(self, words: np.ndarray, sealed: bool = False) -> None:
        stream = constriction().stream
        self._model = stream.model
        self._coder = stream.stack.AnsCoder(np.ascontiguousarray(words, np.uint32), not sealed)
        self.lowest = self._coder.num_words()  # the fewest words that it had

    @property
    def bits(self) -> int:
        """Its height."""
        return self._coder.num_valid_bits()

    def words(self) -> np.ndarray:
        """All that lies on it, (W,) uint32."""
        return self._coder.get_compressed()

    def unsealed(self) -> np.ndarray | None:
        """The words that a stack was made of, where nothing else is left; None where there is."""
        try:
            return self._coder.get_compressed(unseal=True)
        except (AssertionError, ValueError):
            return None

    def _push(self, values: np.ndarray, model, *parameters) -> None:
        if values.size:
            self._coder.encode_reverse(values.astype(np.int32), model, *map(_plain, parameters))

    def _pop(self, count: int, model, *parameters) -> np.ndarray:
        if count == 0:
            return np.zeros(0, np.int64)
        found = self._coder.decode(model, *(map(_plain, parameters) if parameters else (count,)))
        self.lowest = min(self.lowest, self._coder.num_words())
        return found.astype(np.int64)

    def push_class(self, index: np.ndarray, probs: np.ndarray) -> None:
        """Values 0…K−1 with probabilities (N, K), each above 0."""
        self._push(index, self._model.Categorical(perfect=False), probs)

    def pop_class(self, probs: np.ndarray) -> np.ndarray:
        """The inverse of `push_class`."""
        return self._pop(len(probs), self._model.Categorical(perfect=False), probs)

    def push_bits(self, values: np.ndarray, bits: int) -> None:
        """Values 0…2^bits − 1, all equally likely."""
        for start in range(0, bits, CHUNK):
            size = min(CHUNK, bits - start)
            part = values >> start & (1 << size) - 1
            self._push(part, self._model.Uniform(1 << size))

    def pop_bits(self, count: int, bits: int) -> np.ndarray:
        """The inverse of `push_bits`."""
        values = np.zeros(count, np.int64)
        for start in reversed(range(0, bits, CHUNK)):
            size = min(CHUNK, bits - start)
            values |= self._pop(count, self._model.Uniform(1 << size)) << start
        return values

    def _normal(self, mean: np.ndarray, std: float):
        """A table around the whole number next to the mean: in one as wide as all values may be,
        what is never met would take 2^−24 of the probability each, a bit in all at ± 2^22.
        """
        reach = int(min(max(REACH * std, 8), WIDEST)) + 1
        centre = np.rint(mean)
        model = self._model.QuantizedGaussian(-reach, reach)
        parameters = (mean - centre, np.full(len(mean), max(std, 1e-6)))
        return centre.astype(np.int64), reach, (model, *parameters)

    def draw_normal(self, mean: np.ndarray, std: float) -> np.ndarray:
        """Pop values of N(mean, std²), rounded to whole numbers, within `REACH` of the mean."""
        centre, _, model = self._normal(mean, std)
        return centre + self._pop(len(mean), *model)

    def return_normal(self, values: np.ndarray, mean: np.ndarray, std: float) -> None:
        """Push what `draw_normal` gave.

        Raises:
            ValueError: values that it cannot have given.
        """
        centre, reach, model = self._normal(mean, std)
        if np.any(np.abs(values - centre) > reach):
            raise ValueError("the data are damaged: a value was never drawn")
        self._push(values - centre, *model)

    def push_normal(self, values: np.ndarray, mean: np.ndarray, std: float) -> None:
        """Values of N(mean, std²), rounded to whole numbers, however far out they are."""
        centre, reach, model = self._normal(mean, std)
        offset = values - centre
        far = np.abs(offset) >= reach  # the two ends of the table stand for all beyond
        self.push_bits(offset[far] + (1 << ESCAPED - 1), ESCAPED)
        self._push(np.clip(offset, -reach, reach), *model)

    def pop_normal(self, mean: np.ndarray, std: float) -> np.ndarray:
        """The inverse of `push_normal`."""
        centre, reach, model = self._normal(mean, std)
        offset = self._pop(len(mean), *model)
        far = np.abs(offset) >= reach
        offset[far] = self.pop_bits(int(far.sum()), ESCAPED) - (1 << ESCAPED - 1)
        return centre + offset
