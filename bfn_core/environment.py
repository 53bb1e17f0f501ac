"""What the book found on this machine, in plain words, and what to do about what is missing."""

from __future__ import annotations

import contextlib
import html
import importlib.metadata
import os
import platform
import sys
from dataclasses import dataclass

from packaging.requirements import Requirement

from bfn_core.training import devices
from bfn_core.training.scales import current_scale

# Here, since every notebook begins with this import in a cell whose output is not compared: where
# Matplotlib finds no folder for its cache, or first looks through thousands of fonts, it says so.
with contextlib.suppress(ImportError):  # the report names what is missing
    import matplotlib.font_manager  # noqa: F401

PACKAGES = ("torch", "numpy", "matplotlib", "ipywidgets", "anywidget", "plotly", "jupyterlab")
SCALES = {
    "smoke": "seconds of work on data that ships with the packages; what the tests use",
    "laptop": "minutes of work on a CPU",
    "t4": "up to an hour of work on an older or smaller GPU, such as Colab's T4",
    "gpu": "up to an hour of work on one good GPU",
    "paper": "the published settings: days on a good GPU for MNIST, many GPUs for text8",
}


@dataclass(frozen=True)
class Finding:
    """One line of a report: what was looked at, what was found, and what to do if it will not do.

    `advice` is empty where all is well.
    """

    topic: str
    found: str
    advice: str = ""


@dataclass(frozen=True, repr=False)
class Report:
    """What was found, line by line; a notebook shows it as a table, a terminal as text."""

    findings: tuple[Finding, ...]

    @property
    def ready(self) -> bool:
        """Whether nothing is missing that the book cannot do without."""
        return not any(finding.advice for finding in self.findings)

    @property
    def verdict(self) -> str:
        """One sentence on the whole."""
        if self.ready:
            return "All that the book needs is here."
        topics = ", ".join(finding.topic for finding in self.findings if finding.advice)
        return f"Something needs your attention: {topics}."

    def __repr__(self):
        width = max(len(finding.topic) for finding in self.findings)
        lines = [self.verdict, ""]
        for finding in self.findings:
            lines.append(f"{finding.topic:{width}}  {finding.found}")
            if finding.advice:
                lines.append(f"{'':{width}}  → {finding.advice}")
        return "\n".join(lines)

    def _repr_markdown_(self):
        def cell(text):
            return text.replace("|", "\\|")

        lines = [f"**{cell(self.verdict)}**", "", "| | |", "|---|---|"]
        for finding in self.findings:
            advice = f" **→ {finding.advice}**" if finding.advice else ""
            lines.append(f"| {cell(finding.topic)} | {cell(finding.found + advice)} |")
        return "\n".join(lines)

    def _repr_html_(self):
        rows = []
        for finding in self.findings:
            found = html.escape(finding.found)
            if finding.advice:
                found += f"<br><b>→ {html.escape(finding.advice)}</b>"
            rows.append(
                f'<tr><th scope="row" style="text-align:left">{html.escape(finding.topic)}</th>'
                f'<td style="text-align:left">{found}</td></tr>'
            )
        return f"<p><b>{html.escape(self.verdict)}</b></p><table>{''.join(rows)}</table>"


def report() -> Report:
    """Look at Python, the packages, the computer, the scale in force and the data at hand.

    Fetches nothing. Shows no path of this machine, so that its output may be committed.
    """
    return Report((_python(), *_packages(), _computer(), _scale(), *_data()))


def versions() -> None:
    """Print one line: what this notebook runs on. Does not start CUDA, so it can still fork."""
    names = ("torch", "numpy", "matplotlib", "ipywidgets")
    packages = " · ".join(f"{name} {_version(name)}" for name in names)
    device = {"cuda": "CUDA", "mps": "a Mac's GPU"}.get(devices.device_type(), "CPU")
    scale = current_scale(start=False)
    print(f"Python {platform.python_version()} · {packages} · {device} · scale {scale}")


def _python() -> Finding:
    found = f"{platform.python_version()} on {platform.system() or sys.platform}"
    old = sys.version_info < (3, 10)
    return Finding("Python", found, "install Python 3.10 or newer" if old else "")


def _packages() -> list[Finding]:
    """One line for the versions that matter to a reader, and one per package that will not do."""
    versions = {name: _version(name) for name in PACKAGES}
    known = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    return [Finding("packages", known), *_unmet(_requirements())]


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _requirements() -> list[Requirement]:
    """What bfn_core says it needs; empty if it runs from its folder without being installed."""
    try:
        lines = importlib.metadata.requires("bfn_core") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    requirements = map(Requirement, lines)
    return [r for r in requirements if r.marker is None or r.marker.evaluate({"extra": ""})]


def _unmet(requirements: list[Requirement]) -> list[Finding]:
    findings = []
    for requirement in requirements:
        version = _version(requirement.name)
        advice = f'pip install "{requirement.name}{requirement.specifier}", then restart the kernel'
        if version is None:
            findings.append(Finding(requirement.name, "is not installed", advice))
        elif not requirement.specifier.contains(version, prereleases=True):
            found = f"{version} is installed, and {requirement.specifier} is needed"
            findings.append(Finding(requirement.name, found, advice))
    return findings


def _computer() -> Finding:
    import torch

    cores = os.cpu_count() or 1
    kind = devices.device_type()
    if kind == "cpu":
        return Finding("computer", f"no GPU, {cores} CPU cores; most of the book needs no more")
    if kind == "mps":
        return Finding("computer", f"a Mac's GPU, which training uses, and {cores} CPU cores")
    count = torch.cuda.device_count()
    card = devices.card() or "which does not say its name"
    return Finding("computer", f"{count} GPU{'s' * (count > 1)} ({card})")


def _scale() -> Finding:
    try:
        scale = current_scale()
    except ValueError as error:
        return Finding("scale", str(error), 'set it right: os.environ["BFN_SCALE"] = "laptop"')
    if os.environ.get("BFN_SCALE", "").strip():
        why = "as BFN_SCALE says"
    elif devices.device_type() == "cuda":
        why = "because of this GPU"
    else:
        why = "because there is no NVIDIA GPU"
    return Finding("scale", f"{scale}, {why}: {SCALES[scale]}")


def _data() -> list[Finding]:
    """One line per data set: whether its files are at hand, by name only (nothing is read)."""
    from bfn_core.data import images, text
    from bfn_core.data.files import find

    def have(files, folders):
        return all(find(file.name, folders) for file in files)

    mnist = have(images.MNIST_FILES, images.MNIST_FOLDERS)
    cifar10 = have(images.CIFAR10_FILES, images.CIFAR10_FOLDERS) or have(
        [images.CIFAR10_ARCHIVE], ("", "cifar10")
    )
    whole = any(have([f], text.TEXT8_FOLDERS) for f in (text.TEXT8_ARCHIVE, text.TEXT8_PLAIN))
    text8 = whole or have([text.TEXT8_PREFIX], text.TEXT8_FOLDERS)
    place = "in BFN_DATA_DIR" if os.environ.get("BFN_DATA_DIR") else "in your cache folder"
    lines = []
    for name, here, size, stand_in in (
        ("MNIST", mnist, "12 MB", "scikit-learn's handwritten digits"),
        ("CIFAR-10", cifar10, "170 MB", "crops of scikit-learn's two photographs"),
        ("text8", text8, "31 MB", "Python's own documentation"),
    ):
        if here:
            found = f"at hand, {place}"
        else:
            found = (
                f"not here yet; fetched when first used ({size}), and with no network replaced "
                f"by {stand_in}"
            )
        lines.append(Finding(name, found))
    if text8 and not whole:
        lines[-1] = Finding("text8", f"only its beginning is at hand, {place}")
    return lines
