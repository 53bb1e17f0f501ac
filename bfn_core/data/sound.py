"""Plucked strings by Karplus and Strong, of which the law is known; and what sound costs without a
network.

A string of period P is noise that comes round again every P samples, each time a little duller and
softer. The pitch is one of twelve semitones, all equally likely, and the decay is the same for all:
so one can ask of a sample what it is, and of many samples whether they follow the law. Beside them
a piece of a real signal, three beats of a heart.
"""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor

from bfn_core.checks import real, whole
from bfn_core.data.assets import asset

NOTES = ("A", "A♯", "B", "C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯")  # of pitches 0…11


@dataclass(frozen=True)
class PluckedStrings:
    """Plucked strings, each of one of twelve pitches.

    Two neighbouring samples of the period before are mixed, which takes away what is high; an
    all-pass filter adds the part of a sample by which the period is no whole number. Source:
    Karplus and Strong 1983, "Digital synthesis of plucked-string and drum timbres"; the all-pass
    filter, and a decay that one chooses: Jaffe and Smith 1983, "Extensions of the Karplus–Strong
    plucked-string algorithm" (both Computer Music Journal 7, 2).

    Attributes:
        rate: samples in a second.
        length: of a string, in samples.
        lowest: frequency of the first pitch, in hertz.
        decay: after how many samples the fundamental has fallen to 1/e.
        mix: share of the older of the two neighbouring samples.
        peak: the largest of the samples that a string begins with.
    """

    rate: int = 4000
    length: int = 1024
    lowest: float = 220.0
    decay: float = 480.0
    mix: float = 0.1
    peak: float = 0.9

    def __post_init__(self) -> None:
        whole("length", self.length, 2)
        for name in ("lowest", "decay", "mix", "peak"):
            real(name, getattr(self, name), 0.0)
        if self.rate < 8 * self.frequencies[-1]:
            raise ValueError(f"rate must be 8 times the highest pitch at least, got {self.rate}")
        if max(self._recursion(p)[3] for p in range(12)) > 1:
            raise ValueError(f"decay must be shorter: {self.decay} needs a string that grows")

    @property
    def frequencies(self) -> Tensor:
        """Of the twelve semitones, in hertz, (12,)."""
        return self.lowest * 2 ** (torch.arange(12) / 12)

    def _recursion(self, pitch: int) -> tuple[int, int, float, float]:
        """Of a pitch: the whole delay, the samples of noise, the all-pass filter's coefficient, and
        the gain each time round.
        """
        period = self.rate / (self.lowest * 2 ** (pitch / 12))
        angle = 2 * math.pi / period
        delay = int(period - self.mix - 0.3)
        rest = period - self.mix - delay  # in 0.3…1.3, where the filter's delay is nearly even
        one = math.sqrt(1 - 2 * self.mix * (1 - self.mix) * (1 - math.cos(angle)))
        return delay, delay + 1, (1 - rest) / (1 + rest), math.exp(-period / self.decay) / one

    def pluck(self, pitch: Tensor, generator: Generator | None = None) -> Tensor:
        """Strings of given pitches 0…11, (B,) -> (B, length) in [−1, 1].

        Raises:
            ValueError: pitches that are not whole numbers in 0…11.
        """
        good = pitch.dtype == torch.int64 and pitch.dim() == 1
        if not (good and bool(((pitch >= 0) & (pitch < 12)).all())):
            raise ValueError(f"pitch must be (B,) int64 in 0…11, got {pitch.dtype}, {pitch}")
        x = torch.zeros(len(pitch), self.length)
        for p in pitch.unique().tolist():
            own = (pitch == p).nonzero()[:, 0]
            x[own] = self._pluck(p, len(own), generator)
        return x

    def _pluck(self, pitch: int, count: int, generator: Generator | None) -> Tensor:
        delay, samples, share, gain = self._recursion(pitch)
        noise = torch.rand(count, samples, generator=generator) - 0.5
        for _ in range(2):  # a plectrum is not a point: soften, round the string
            noise = noise.roll(1, 1) + 2 * noise + noise.roll(-1, 1)
        noise = noise - noise.mean(1, keepdim=True)
        noise = self.peak * noise / noise.abs().amax(1, keepdim=True)
        y = torch.zeros(samples + self.length, count)  # silence, then sound; time goes down
        y[samples : 2 * samples] = noise.T
        fed = came = torch.zeros(count)  # what last went into the all-pass filter, and out of it
        for n in range(samples, samples + self.length):
            mixed = gain * ((1 - self.mix) * y[n - delay] + self.mix * y[n - delay - 1])
            came = share * (mixed - came) + fed
            fed = mixed
            y[n] += came
        return y[samples:].T.clamp(-1, 1)

    def draw(self, count: int, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Strings (B, length) and their pitches (B,) int64, each pitch equally likely."""
        pitch = torch.randint(12, (count,), generator=generator)
        return self.pluck(pitch, generator), pitch

    def pitch_of(self, x: Tensor) -> Tensor:
        """The pitch 0…11 of which the autocorrelation at one to eight periods is highest, (B,).

        Args:
            x: strings, (B, length).
        """
        return self.correlations(x).argmax(1)

    def clearness(self, x: Tensor) -> Tensor:
        """How well strings repeat: the autocorrelation at the periods of their pitch as a share of
        that at 0, (B,), below 1.
        """
        return self.correlations(x).amax(1)

    def decay_of(self, x: Tensor) -> Tensor:
        """After how many samples the fundamental of strings x (B, length) has fallen to 1/e, (B,).

        The strength at the frequency of each string's own pitch (`pitch_of`) is heard in two
        windows, half the length apart; `decay` is what the law says. ∞ or below 0 where it does
        not fall.
        """
        half = self.length // 2
        turns = self.frequencies[self.pitch_of(x)].unsqueeze(1) * torch.arange(half) / self.rate
        probe = torch.hann_window(half) * torch.exp(-2j * math.pi * turns)
        early, late = ((part[:, :half] * probe).sum(1).abs() for part in (x, x[:, half:]))
        return half / (early / late).log()

    def harmonics_of(self, x: Tensor, count: int = 4) -> Tensor:
        """Shares of the power of strings x (B, length) near the first multiples of the frequency
        of their own pitch (`pitch_of`), (B, count): what gives a sound its colour.
        """
        power = torch.fft.rfft(x * torch.hann_window(x.shape[1])).abs().square()  # (B, F)
        grid = torch.arange(power.shape[1]) * self.rate / x.shape[1]
        tones = self.frequencies[self.pitch_of(x)].unsqueeze(1) * torch.arange(1, count + 1)
        near = (grid - tones.unsqueeze(2)).abs() < 0.25 * self.lowest  # (B, count, F)
        return (near * power.unsqueeze(1)).sum(2) / power.sum(1, keepdim=True).clamp(min=1e-12)

    def correlations(self, x: Tensor) -> Tensor:
        """The mean autocorrelation at one to eight periods of each pitch, a share of that at 0:
        (B, 12).
        """
        finer = 8  # values of the autocorrelation for each sample, by zeros in its spectrum
        spectrum = torch.fft.rfft(x - x.mean(1, keepdim=True), 2 * x.shape[1])
        padded = torch.zeros(len(x), finer * x.shape[1] + 1)
        padded[:, : spectrum.shape[1]] = spectrum.abs().square()
        correlation = torch.fft.irfft(padded + 0j)
        periods = self.rate / self.frequencies
        lags = (finer * periods.unsqueeze(1) * torch.arange(1, 9)).round().long()  # (12, 8)
        return correlation[:, lags].mean(2) / correlation[:, :1].clamp(min=1e-12)


def predicted_bits(
    codes: Tensor, orders: tuple[int, ...] = (2, 8, 16, 24, 32), *, block: int = 128
) -> tuple[Tensor, Tensor]:
    """What linear prediction and Rice's code pay for each string, as FLAC does it: (B,) bits, and
    the order that was best, (B,).

    A sample is predicted from those before it, with weights by least squares for this string, 12
    bits each; its first `order` samples are sent as they are. The rounded errors are written in
    Rice's code, whose parameter is chosen anew, with 4 bits, in each block. Of the orders the
    cheapest is taken, with 3 bits, however many there are; and the weights are not rounded: both
    are to the coder's favour.

    Args:
        codes: samples, (B, L) int64 in 0…255.
        orders: how many samples back one looks.
        block: samples with one parameter.
    """
    if codes.dtype != torch.int64 or codes.dim() != 2:
        raise ValueError(f"codes must be (B, L) int64, got {tuple(codes.shape)} {codes.dtype}")
    signal, costs = codes.double() - 127.5, []
    for order in orders:
        past = signal.unfold(1, order, 1)[:, :-1]  # (B, L − order, order)
        now = signal[:, order:]
        weights = torch.linalg.lstsq(past, now.unsqueeze(2)).solution
        error = codes[:, order:] - ((past @ weights)[..., 0] + 127.5).round().long()
        folded = torch.where(error < 0, -2 * error - 1, 2 * error)
        bits = torch.full((len(codes),), 3.0 + 12 * order + 8 * order, dtype=torch.float64)
        for part in folded.split(block, 1):
            each = [(part >> k).sum(1) + part.shape[1] * (1 + k) for k in range(9)]
            bits += 4 + torch.stack(each).amin(0)
        costs.append(bits)
    best = torch.stack(costs).min(0)
    return best.values, torch.tensor(orders)[best.indices]


def ecg() -> Tensor:
    """An electrocardiogram of three beats, (1024,) in [−1, 1].

    The numbers of PyWavelets' `pywt.data.ecg()` (MIT licence, see assets/ecg_notice.txt), divided
    by 256. The package does not say whose heart it was, nor how many samples make a second.
    """
    return torch.from_numpy(np.loadtxt(asset("ecg.txt"), dtype=np.float32)) / 256


def windows(x: Tensor, length: int, *, without: tuple[int, int]) -> Tensor:
    """All pieces of neighbouring samples of x, (N,), that touch none of those first…last − 1 of
    `without` = (first, last): (B, length).

    Raises:
        ValueError: a part is left out that is none, or leaves no piece.
    """
    first, last = without
    if not 0 <= first <= last <= len(x):
        raise ValueError(f"without must be (first, last) within 0…{len(x)}, got {without}")
    parts = [part for part in (x[:first], x[last:]) if len(part) >= length]
    if not parts:
        raise ValueError(f"without {first}…{last} no piece of {length} samples is left")
    return torch.cat([part.unfold(0, length, 1) for part in parts])


def kept_sound(text: str) -> Tensor:
    """A wave that a record keeps, one byte for each sample in base64: (L,), centres of 256 bins."""
    codes = torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8)
    return (2 * codes.float() + 1) / 256 - 1
