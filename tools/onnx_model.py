"""Write a shipped network as an ONNX file, for engines without Python.

    python -m tools.onnx_model FILE                        the MNIST weights that know labels
    python -m tools.onnx_model FILE --name text8 --bits 8  other shipped weights

What the file holds: see bfn_core/networks/onnx_graph.py.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bfn_core.networks.onnx_graph import written
from bfn_core.training import shipped


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--name", default="mnist_conditional", help="of the shipped weights")
    parser.add_argument("--bits", type=int, default=16, choices=(8, 16, 32), help="of a weight")
    chosen = parser.parse_args(arguments)
    content = written(shipped(chosen.name).network, chosen.bits)
    chosen.file.write_bytes(content)
    print(f"{chosen.file}: {len(content):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
