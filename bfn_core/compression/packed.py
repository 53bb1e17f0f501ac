"""What `compress` gives: words, what the decoder must know beside them, and both as a file.

A file is

    4 bytes     BFNC
    1 byte      version of the format, 2
    2 bytes     length of the header, little-endian
    header      JSON, deflated
    words       4 bytes each, little-endian
    8 bytes     the beginning of the SHA-256 of all before
"""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

MAGIC, VERSION = b"BFNC", 2
CHECK = 8  # bytes of the digest at the end
_START = len(MAGIC) + 3


@dataclass(frozen=True)
class Packed:
    """Compressed data.

    Attributes:
        words: the stack, the bottom first, (W,) uint32.
        count: examples.
        n: messages about each.
        lanes: examples that are coded at once.
        seed: of the random bits at the bottom of the stack.
        seed_words: how many words of them were lent, and come back.
        cells: to a standard deviation.
        shapes: of an example, by name; "" where the data are one tensor.
        dtypes: of the data.
        places: binary places of real numbers.
        model: digest of the flow and the weights.
        checksum: of the data.
        form: what the data are made into, in a file; see `files`.
    """

    words: np.ndarray
    count: int
    n: int
    lanes: int
    seed: int
    seed_words: int
    cells: float
    shapes: dict[str, tuple[int, ...]]
    dtypes: dict[str, str]
    places: dict[str, int]
    model: str
    checksum: str
    form: dict[str, Any] = field(default_factory=dict)

    @property
    def net_bits(self) -> int:
        """By how much the stack has grown: the cost of the data. On average L^n + L^r."""
        height = 32 * len(self.words) - 32 + int(self.words[-1]).bit_length()
        return height - (32 * self.seed_words + 1)

    @property
    def seed_bits(self) -> int:
        """Random bits that lay on the stack before, and had to: they come back, but are in the file
        with the rest.
        """
        return 32 * self.seed_words

    @property
    def file_bytes(self) -> int:
        """Size of the file: net bits, seed and header."""
        return len(self.to_bytes())

    def to_bytes(self) -> bytes:
        """The file."""
        facts = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "words"}
        text = json.dumps(facts, separators=(",", ":"), ensure_ascii=False)
        header = zlib.compress(text.encode("utf-8", "surrogatepass"), 9)
        if len(header) >= 1 << 16:
            raise ValueError("the header is too long: too many file names")
        start = MAGIC + bytes([VERSION]) + len(header).to_bytes(2, "little")
        content = start + header + self.words.astype("<u4").tobytes()
        return content + hashlib.sha256(content).digest()[:CHECK]

    @classmethod
    def from_bytes(cls, content: bytes) -> Packed:
        """The inverse of `to_bytes`.

        Raises:
            ValueError: what it is instead, in one sentence.
        """
        if content[: len(MAGIC)] != MAGIC:
            raise ValueError("this is no packed file: it does not begin with BFNC")
        if len(content) > len(MAGIC) and content[len(MAGIC)] != VERSION:
            raise ValueError(
                f"the file is of version {content[len(MAGIC)]} of the format, and only {VERSION} "
                "is known here"
            )
        body, check = content[:-CHECK], content[-CHECK:]
        if len(content) < _START + CHECK or hashlib.sha256(body).digest()[:CHECK] != check:
            raise ValueError("the file is damaged or cut short: its checksum differs")
        end = _START + int.from_bytes(content[_START - 2 : _START], "little")
        facts = json.loads(zlib.decompress(body[_START:end]).decode("utf-8", "surrogatepass"))
        facts["shapes"] = {name: tuple(shape) for name, shape in facts["shapes"].items()}
        return cls(np.frombuffer(body[end:], "<u4").astype(np.uint32), **facts)
