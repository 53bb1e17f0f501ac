"""Where the seeds of all draws come from."""

from __future__ import annotations

import hashlib
from typing import Any


def mix(*parts: Any) -> int:
    """A seed from whatever names a draw, the same on every machine and in every version."""
    name = " ".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.sha256(name).digest()[:8], "big") >> 1
