"""Run the notebooks and write them back in one normal form.

    python tools/notebooks.py                       run every notebook, write outputs in place
    python tools/notebooks.py notebooks/01_*.ipynb  only these
    python tools/notebooks.py --check               run nothing; list files not in normal form
    python tools/notebooks.py --from-percent draft.py notebooks/01_gaussian_mixture.ipynb
    python tools/notebooks.py --to-percent notebooks/01_gaussian_mixture.ipynb draft.py

The normal form is what makes a committed notebook small and its diffs readable: no widget
state, no timings, no version of the Python that ran it, cell ids that only change with the cell.

A draft in percent format is a text file. `# %%` opens a code cell, `# %% [markdown]` a cell of
prose (each of its lines behind `# `), and either may carry `tags=["hide-input", ...]`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import sys
import tempfile
import time
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "pygments_lexer": "ipython3",
    },
}
MARKER = re.compile(r"^# %%(?:\s+\[(?P<kind>markdown)\])?(?:\s+tags=(?P<tags>\[.*\]))?\s*$")


def normalise(book: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return a copy of `book` in normal form; normalising twice changes nothing more."""
    metadata = nbformat.from_dict(METADATA)
    if "title" in book.metadata:
        metadata["title"] = book.metadata["title"]
    cells, taken = [], set()
    for old in book.cells:
        cell = nbformat.from_dict(dict(old))
        cell["source"] = cell.source.rstrip()
        if not cell.source:
            continue
        cell["metadata"] = _cell_metadata(cell.metadata)
        cell["id"] = _cell_id(cell, taken)
        if cell.cell_type == "code":
            cell["outputs"] = _merge_streams([_normal_output(o) for o in cell.outputs])
        cells.append(cell)
    return nbformat.from_dict(
        {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    )


def _cell_metadata(old) -> nbformat.NotebookNode:
    new = {}
    tags = list(old.get("tags", []))
    if tags:
        new["tags"] = tags
    if "hide-input" in tags:
        new["jupyter"] = {"source_hidden": True}  # how JupyterLab folds a cell away
    return nbformat.from_dict(new)


def _cell_id(cell, taken: set[str]) -> str:
    """Name a cell after its content, so that an edit elsewhere leaves the id alone."""
    digest = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:8]
    name, copy = digest, 2
    while name in taken:
        name, copy = f"{digest}-{copy}", copy + 1
    taken.add(name)
    return name


def _normal_output(output) -> nbformat.NotebookNode:
    output = nbformat.from_dict(dict(output))
    if "data" in output:
        data = dict(output.data)
        # A stored view without its model shows as an error in JupyterLab: what stands beside
        # it in the bundle (the picture and the sentence) is what an unrun notebook can show.
        if len(data) > 1:
            data.pop(WIDGET_VIEW, None)
        output["data"] = nbformat.from_dict(data)
        keep = {k: v for k, v in output.get("metadata", {}).items() if k in data}
        output["metadata"] = nbformat.from_dict(keep)
    return output


def _merge_streams(outputs: list) -> list:
    """Join neighbouring pieces of one stream: how it was cut is an accident of timing."""
    merged: list = []
    for output in outputs:
        last = merged[-1] if merged else None
        if output.output_type == "stream" and last and last.get("name") == output.name:
            last["text"] += output.text
        else:
            merged.append(output)
    return merged


def from_percent(text: str) -> nbformat.NotebookNode:
    """Read a draft in percent format; return a notebook that was not run."""
    cells: list[tuple[str, list[str], list[str]]] = []
    for line in text.splitlines():
        marker = MARKER.match(line)
        if marker:
            kind = marker["kind"] or "code"
            cells.append((kind, json.loads(marker["tags"] or "[]"), []))
        elif line.startswith("# %%"):
            raise ValueError(f"not a cell marker that this script knows: {line!r}")
        elif cells:
            cells[-1][2].append(line)
        elif line.strip():
            raise ValueError(f"text before the first `# %%`: {line!r}")
    book = nbformat.v4.new_notebook()
    for kind, tags, lines in cells:
        if kind == "markdown":
            lines = [re.sub(r"^# ?", "", line) for line in lines]
        new = nbformat.v4.new_markdown_cell if kind == "markdown" else nbformat.v4.new_code_cell
        book.cells.append(new("\n".join(lines).strip("\n"), metadata={"tags": tags}))
    return normalise(book)


def to_percent(book: nbformat.NotebookNode) -> str:
    """Write the sources of a notebook in percent format; its outputs are left out."""
    parts = []
    for cell in book.cells:
        markdown = cell.cell_type == "markdown"
        tags = list(cell.metadata.get("tags", []))
        head = "# %%" + (" [markdown]" if markdown else "")
        head += f" tags={json.dumps(tags)}" if tags else ""
        lines = cell.source.split("\n")
        if markdown:
            lines = [f"# {line}".rstrip() for line in lines]
        parts.append("\n".join([head, *lines]))
    return "\n\n".join(parts) + "\n"


def execute(path: Path, scale: str = "smoke", timeout: int = 600) -> nbformat.NotebookNode:
    """Run one notebook in its own folder and return it, outputs and all, in normal form."""
    book = nbformat.read(path, as_version=4)
    return execute_book(book, path.resolve().parent, scale, timeout)


def execute_book(
    book: nbformat.NotebookNode, folder: Path, scale: str = "smoke", timeout: int = 600
) -> nbformat.NotebookNode:
    """Run a notebook as if its file were in `folder`, and return it in normal form."""
    import matplotlib  # these two are not needed to convert or to check
    from nbclient import NotebookClient

    with tempfile.TemporaryDirectory() as scratch:
        # IPYTHONDIR: nobody's start-up files or profile may leak into what is committed.
        environment = {**os.environ, "BFN_SCALE": scale, "IPYTHONDIR": scratch}
        # Nor may a matplotlibrc of one's own.
        environment["MATPLOTLIBRC"] = str(Path(matplotlib.get_data_path(), "matplotlibrc"))
        environment.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
        # On the CPU, where the tests compare what is written, whatever GPU is there.
        environment |= {"ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": ""}
        client = NotebookClient(
            book,
            kernel_name="python3",
            timeout=timeout,
            record_timing=False,
            store_widget_state=False,
            resources={"metadata": {"path": str(folder)}},
        )
        client.execute(env=environment)
    return normalise(book)


def write(book: nbformat.NotebookNode, path: Path) -> None:
    """Replace `path` by `book`, whole or not at all."""
    nbformat.validate(book)
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(as_text(book), encoding="utf-8", newline="\n")
    os.replace(fresh, path)


def as_text(book: nbformat.NotebookNode) -> str:
    """Return the file's text, as committed."""
    return nbformat.writes(book).rstrip("\n") + "\n"


def _check(paths: list[Path]) -> int:
    stray = [
        path
        for path in paths
        if as_text(normalise(nbformat.read(path, as_version=4))) != path.read_text("utf-8")
    ]
    for path in stray:
        print(f"{path}: not in normal form; run `python tools/notebooks.py {path}`")
    if not stray:
        print(f"{len(paths)} notebooks, all in normal form")
    return 1 if stray else 0


def _run(paths: list[Path], scale: str, timeout: int) -> int:
    from nbclient.exceptions import CellControlSignal, DeadKernelError

    failed = 0
    for path in paths:
        start = time.monotonic()
        print(f"{path.name} at scale {scale} … ", end="", flush=True)
        try:
            book = execute(path, scale, timeout)
        except (CellControlSignal, DeadKernelError) as error:  # error or timeout in a cell
            failed += 1
            print(f"failed, left as it was\n{error}")
            continue
        write(book, path)
        print(f"{time.monotonic() - start:.0f} s, {path.stat().st_size / 1000:.0f} kB")
    return 1 if failed else 0


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="run nothing; check the normal form")
    mode.add_argument("--from-percent", action="store_true", help="FILE.py NOTEBOOK.ipynb")
    mode.add_argument("--to-percent", action="store_true", help="NOTEBOOK.ipynb FILE.py")
    parser.add_argument("--scale", default="smoke", help="BFN_SCALE of the run (default smoke)")
    parser.add_argument("--timeout", type=int, default=600, help="seconds per cell")
    parser.add_argument("paths", nargs="*", type=Path)
    sys.stdout.reconfigure(errors="backslashreplace")  # an error holds any letter, a pipe may not
    options = parser.parse_args(arguments)
    paths = options.paths
    if options.from_percent or options.to_percent:
        if len(paths) != 2:
            parser.error("converting takes two paths: what to read and what to write")
        if options.from_percent:
            write(from_percent(paths[0].read_text("utf-8")), paths[1])
        else:
            text = to_percent(nbformat.read(paths[0], as_version=4))
            paths[1].write_text(text, "utf-8", newline="\n")
        return 0
    paths = paths or sorted((ROOT / "notebooks").glob("*.ipynb"))
    if not paths and not options.check:
        parser.error("no notebook found")
    return _check(paths) if options.check else _run(paths, options.scale, options.timeout)


if __name__ == "__main__":
    sys.exit(main())
