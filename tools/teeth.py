"""Break the mathematics on purpose, one formula at a time, and see that the tests notice.

    python tools/teeth.py            all breaks
    python tools/teeth.py gamma      those whose description holds the word

A test that passes whatever the code does proves nothing. Each line of BREAKS is a mistake that a
re-implementation could make; it is made in a copy of the package, and the tests of the mathematics
must fail there. A break whose text is no longer in the source is an error: keep the list in step.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS = ("test_code_length.py", "test_flows.py", "test_distributions.py", "test_model.py")

# (what goes wrong, file in bfn_core, the right text, the wrong text)
BREAKS = [
    ("the loss twice too large", "flows.py", "return 0.5 * rate * (x -", "return rate * (x -"),
    ("the discrete loss twice too large", "flows.py",
     "return 0.5 * self.classes * rate", "return self.classes * rate"),
    ("a mean over K in place of a sum", "flows.py",
     "rate * error.square().sum(-1)", "rate * error.square().mean(-1)"),
    ("norm in place of squared norm", "flows.py",
     "rate * (x - output.mean).square()", "rate * (x - output.mean).abs()"),
    ("t = i/n in place of (i−1)/n", "model.py",
     "t = (i - 1).to(like.dtype) / n", "t = i.to(like.dtype) / n"),
    ("the message's accuracy one step late", "model.py",
     "alpha = self.flow.alpha(i.to(like.dtype), n)",
     "alpha = self.flow.alpha((i - 1).clamp(min=1).to(like.dtype), n)"),
    ("the factor n left out of L^n", "model.py",
     "return n * _total(self.flow.step_cost", "return _total(self.flow.step_cost"),
    ("one update missing in the sampler", "model.py",
     "if i < n_steps:  #", "if i < n_steps - 1:  #"),
    ("the last times of the sampler one step late", "model.py",
     "output = self.output(theta, i / n_steps)",
     "output = self.output(theta, min(i + 1, n_steps) / n_steps)"),
    ("independent mixtures in place of one joint mixture", "flows.py",
     "return pick(y, x) - (log_probs + y).logsumexp(-1) - slope",
     "return independent(x, y, log_probs, sender.alpha)"),
    ("the slope of the step cost with the wrong sign", "flows.py",
     ".logsumexp(-1) - slope", ".logsumexp(-1) + 2 * slope.square()"),
    ("gamma as β", "schedules.py",
     "return -_expm1(-self._rate * t)", "return _expm1(self._rate * t)"),
    ("gamma that loses digits at small t", "schedules.py",
     "return -_expm1(-self._rate * t)", "return 1 - _exp(-self._rate * t)"),
    ("β(t) without its −1", "schedules.py",
     "return _expm1(self._rate * t)", "return _exp(self._rate * t)"),
    ("σ₁^(−t) in place of σ₁^(−2t)", "schedules.py",
     "return -2.0 * math.log(self.sigma_1)", "return -1.0 * math.log(self.sigma_1)"),
    ("α_i = β(1)·2i/n² (off by one)", "schedules.py", "(2 * i - 1) / n**2", "(2 * i) / n**2"),
    ("β(1) t in place of β(1) t²", "schedules.py",
     "return self.beta_1 * t * t", "return self.beta_1 * t"),
    ("the flow's variance γ in place of γ(1 − γ)", "flows.py",
     "(gamma * (1 - gamma)).sqrt()", "gamma.sqrt()"),
    ("one noise for all variables", "distributions.py",
     "    return torch.randn(shape, generator=generator, dtype=dtype, device=like.device)",
     "    one = torch.randn(shape[:1], generator=generator, dtype=dtype, device=like.device)\n"
     "    return one.reshape(-1, *[1] * (len(shape) - 1)).expand(shape).clone()"),
    ("the update's weight α/ρ in place of α/ρ'", "flows.py",
     "per_example(alpha / precision, y)", "per_example(alpha / theta.precision, y)"),
    ("the discrete update scaled by α once more", "flows.py",
     "(theta.logits + y).log_softmax(-1)", "(theta.logits + alpha * y).log_softmax(-1)"),
    ("a sender with variance α in place of αK", "distributions.py",
     "y = noise * (self.alpha * k).sqrt() - self.alpha",
     "y = noise * self.alpha.sqrt() - self.alpha"),
    ("the prior counted twice in the exact posterior", "exact.py",
     "(precision - 1) / 2", "precision / 2"),
    ("the exact posterior without the weights", "exact.py",
     "(self.log_weights + score).softmax(-1)", "score.softmax(-1)"),
    ("tails left out of the outer bins", "distributions.py",
     "return torch.where(open_left | open_right, outer, inner)", "return inner"),
    ("dropout left on while sampling", "model.py", "    module.eval()\n", "    pass\n"),
    ("the mask of t_min after the division", "flows.py",
     "self.schedule.gamma(time.clamp(min=T_MIN))", "self.schedule.gamma(time)"),
]

# The widely copied n-step loss: every coordinate of y as a mixture of its own.
INDEPENDENT = """

def independent(x, y, log_probs, alpha):
    classes = log_probs.shape[-1]
    on, off = alpha * (classes - 1), -alpha
    wide = (alpha * classes).sqrt()
    probs = log_probs.exp()
    at_on = -0.5 * ((y - on) / wide) ** 2
    at_off = -0.5 * ((y - off) / wide) ** 2
    hot = torch.nn.functional.one_hot(x, classes).bool()
    mixed = torch.logaddexp(log_probs + at_on, torch.log1p(-probs.clamp(max=1 - 1e-6)) + at_off)
    return (torch.where(hot, at_on, at_off) - mixed).sum(-1)
"""


def failing_test(place: Path) -> str | None:
    """The first test that fails on the package in `place`, or None."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    command += [f"tests/{name}" for name in TESTS]
    run = subprocess.run(
        command, cwd=place, capture_output=True, encoding="utf-8", errors="replace",
        env={**os.environ, "PYTHONPATH": "."},
    )
    if run.returncode == 0:
        return None
    named = [line for line in run.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return named[0].split(" - ")[0] if named else run.stdout[-300:] + run.stderr[-300:]


def main(words: list[str]) -> int:
    sys.stdout.reconfigure(errors="backslashreplace")  # for the Greek, in a pipe on Windows
    missed = 0
    for what, name, right, wrong in BREAKS:
        if words and not any(word in what for word in words):
            continue
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            for part in ("bfn_core", "tests", "pyproject.toml", "conftest.py"):
                source = ROOT / part
                copy = shutil.copytree if source.is_dir() else shutil.copy
                copy(source, place / part)
            file = place / "bfn_core" / name
            text = file.read_text(encoding="utf-8")
            if text.count(right) < 1:
                print(f"OUT OF DATE  {what}: {right!r} is not in {name}", flush=True)
                missed += 1
                continue
            changed = text.replace(right, wrong, 1) + INDEPENDENT * (name == "flows.py")
            file.write_text(changed, "utf-8", newline="\n")
            caught = failing_test(place)
        print(f"{'caught' if caught else 'MISSED'}  {what}: {caught or ''}", flush=True)
        missed += caught is None
    print(f"{missed} missed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
