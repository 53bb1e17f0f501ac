"""What the C library does with memory that is freed, which decides how fast a CPU trains."""

from __future__ import annotations

import ctypes
import sys

# Of glibc's malloc.h: the option and what it is set to.
_TOP_PAD = (-2, 64 << 20)  # ask the kernel for 64 MiB at a time
_TRIM_THRESHOLD = (-1, 2**31 - 1)  # give nothing back before 2 GiB lie unused
_MMAP_MAX = (-4, 0)  # map no tensor by itself


def keep_memory() -> bool:
    """Let this process keep the memory of tensors it has freed, for those that follow.

    As glibc stands, every tensor above a few MiB is mapped anew and given back to the kernel, which
    clears each of its pages when it is first written to. In training on a CPU that can take longer
    than the arithmetic: text8's steps are made in half the time without. It holds until the
    process ends. Returns whether the C library could be asked; others are left as they are.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # not glibc
        return False
    return all(mallopt(*option) == 1 for option in (_TOP_PAD, _TRIM_THRESHOLD, _MMAP_MAX))
