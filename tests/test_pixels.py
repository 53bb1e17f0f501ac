"""A BFN of pixels in JavaScript, in a real browser, held against bfn_core.

Its flow with a pretended network, and the shipped network that ONNX Runtime Web runs.
"""

import math

import numpy
import pytest
import torch

from bfn_core import BFN, DiscreteFlow, solvers
from bfn_core.beliefs import CategoricalParameters
from bfn_core.data import asset, record
from bfn_core.data.files import DataError, digest
from bfn_core.distributions import Categorical, CategoricalMessage
from bfn_core.infilling import effective, systematic
from bfn_core.training import shipped
from bfn_core.views.kit import browser
from tests.chromium import unavailable
from tests.files import served

BETA = 9.0
RUNTIME = ["ort.mjs", "ort-wasm-simd-threaded.mjs", "ort.wasm.gz"]
FLOW = DiscreteFlow(2, BETA)
X, GUESSES, NOISES = (0, 1), (-30.0, -2.0, 0.0, 0.7, 12.0), (-2.5, 0.0, 0.4)
CASES = [(x, guess, i, z) for x in X for guess in GUESSES for i in (1, 7) for z in NOISES]
N = 8  # messages


SCRIPT = "pixels"  # that `call` reads


def as_logits(odds):
    """Log odds of ink (…) as logits (…, 2)."""
    odds = torch.as_tensor(odds, dtype=torch.float64)
    return torch.stack([torch.zeros_like(odds), odds], -1)


def full_message(x, alpha, z):
    """A message y (1, 2) whose difference y_1 − y_0 has the standard normal noise z."""
    mean = FLOW.sender(torch.tensor([x]), torch.tensor(alpha, dtype=torch.float64)).mean
    return mean + math.sqrt(2 * alpha) * z * torch.tensor([[-0.5, 0.5]]) * math.sqrt(2)


def test_the_accuracies(call):
    asked = [(i, n, BETA) for n in (1, N, 100) for i in range(1, n + 1)]
    assert call("alpha", asked) == pytest.approx([FLOW.alpha(i, n) for i, n, _ in asked])
    assert sum(call("alpha", asked)[1 : N + 1]) == pytest.approx(BETA)


def test_a_message_has_the_senders_law(call):
    (zero, one, minus) = call("message", [(1, 0.3, 0), (1, 0.3, 1), (0, 0.3, 0)])
    sender = FLOW.sender(torch.tensor([1]), torch.tensor(0.3))
    assert zero == pytest.approx(float(sender.mean[0, 1] - sender.mean[0, 0])) == -minus
    assert (one - zero) ** 2 == pytest.approx(float(sender.variance.sum()))


def test_what_a_message_says_of_x_and_what_it_costs(call):
    alphas = [FLOW.alpha(i, N) for _, _, i, _ in CASES]
    messages = call("message", [(x, a, z) for (x, _, _, z), a in zip(CASES, alphas, strict=True)])
    asked = [(x, y, g, a) for (x, g, _, _), y, a in zip(CASES, messages, alphas, strict=True)]
    surprises, prices = call("surprise", [one[:3] for one in asked]), call("price", asked)
    for (x, guess, _, z), alpha, y, surprise, price in zip(
            CASES, alphas, messages, surprises, prices, strict=True):
        full = full_message(x, alpha, z)
        assert y == pytest.approx(float(full[0, 1] - full[0, 0]))
        log_probs = as_logits([guess]).log_softmax(-1)
        wide = torch.tensor(alpha, dtype=torch.float64)
        sent = FLOW.sender(torch.tensor([x]), wide).log_prob(full)
        expected = float(sent - CategoricalMessage(log_probs, wide).log_prob(full))
        assert surprise == pytest.approx(expected, abs=1e-6)
        # The control variate of DiscreteFlow.step_cost, with this very noise.
        mean = FLOW.sender(torch.tensor([x]), wide).mean
        noise, tilted = full - mean, (log_probs + mean).softmax(-1)
        slope = float(noise[0, x] - (tilted * noise).sum())
        assert price == pytest.approx(expected - slope, abs=1e-6)


def test_prices_are_right_on_average(call):
    """The mean of many is KL(sender || receiver), as `step_cost` has it."""
    alpha, guess, count = 0.8, -0.4, 20_000
    (noise,) = call("normals", [(count, 5)])
    y = call("message", [(1, alpha, z) for z in noise])
    ours = numpy.array(call("price", [(1, value, guess, alpha) for value in y]))
    output = Categorical(as_logits(torch.full((count,), guess)))
    cost = FLOW.step_cost(torch.ones(count, dtype=torch.int64), output,
                          torch.tensor(alpha, dtype=torch.float64),
                          torch.Generator().manual_seed(0))
    error = math.hypot(ours.std(), float(cost.std())) / math.sqrt(count)
    assert ours.mean() == pytest.approx(float(cost.mean()), abs=4 * error)
    assert error < 0.01 < ours.mean()


def test_the_final_price(call):
    asked = [(x, guess) for x in X for guess in GUESSES]
    expected = [float(FLOW.final_cost(torch.tensor([x]), Categorical(as_logits([guess]))))
                for x, guess in asked]
    assert call("finalPrice", asked) == pytest.approx(expected, abs=1e-6)


def test_weights(call):
    logs = [0.3, -2.0, 1.1, -700.0]
    wide = torch.tensor(logs, dtype=torch.float64)
    assert call("normalised", [(logs,)])[0] == pytest.approx(wide.log_softmax(0).tolist())
    assert call("effective", [(logs,)]) == pytest.approx([effective(wide.log_softmax(0))])
    offsets = [0.01, 0.35, 0.8, 0.999]
    for offset, chosen in zip(offsets, call("systematic", [(logs, o) for o in offsets]),
                              strict=True):
        cdf = wide.softmax(0).cumsum(0)
        marks = (torch.arange(4) + offset) / 4
        assert chosen == torch.searchsorted(cdf, marks).clamp(max=3).tolist()
    even = systematic(torch.zeros(4), torch.device("cpu"), torch.Generator().manual_seed(0))
    assert call("systematic", [([0, 0, 0, 0], 0.5)]) == [even.tolist()]


# A whole filling, with a network of four pixels that the browser and torch compute alike.

RUN = """async ([options, seed]) => {
  const { x, n, count } = options;
  const draws = window.ours.noise(seed);
  const network = async (theta, times, labels) => Float32Array.from(theta, (p, j) => {
    const one = Math.floor(j / (2 * x.length)); // which example
    const other = theta[j ^ 2]; // a pixel reads its neighbour's probability
    return (j & 1) * (4 * other - 2 + times[one] + 0.3 * (labels[one] + 1)) * (1 + times[one]);
  });
  const list = (found) => JSON.parse(JSON.stringify(found, (_, v) =>
    (ArrayBuffer.isView(v) ? [...v] : v)));
  const states = [];
  for await (const s of window.ours.filling({ ...options, network, random: draws })) {
    states.push(list(s));
  }
  const random = [...Array(n).keys()].map((i) => ({
    normal: [...Array(count).keys()].map((c) => draws.normal(i, c, x.length)),
    uniform: [...Array(count).keys()].map((c) => draws.uniform(i, c, x.length)),
    offset: draws.uniform(i, 63, 1)[0] }));
  return { states, random };
}"""


def pretended(theta, t, label):
    """The log odds (N, 4) of the same network from beliefs (N, 4, 2)."""
    probs = theta.probs[..., 1]
    other = probs[:, [1, 0, 3, 2]]
    return (4 * other - 2 + t + 0.3 * (label + 1)) * (1 + t)


@pytest.mark.parametrize(
    ("count", "known", "label", "weight"),
    [(1, [0, 0, 0, 0], -1, 1), (1, [1, 0, 1, 0], 4, 2), (6, [1, 0, 1, 0], 2, 1),
     (6, [1, 1, 1, 1], -1, 1), (6, [1, 0, 1, 0], 7, 0)],
)
def test_a_filling_is_that_of_bfn_core_with_the_same_noise(chromium, call, count, known, label,
                                                           weight):
    x = [1, 0, 0, 1]
    page = chromium.contexts[0].pages[-1]
    options = {"x": x, "known": known, "n": N, "beta1": BETA, "count": count, "label": label,
               "weight": weight}
    found = page.evaluate(RUN, [options, 3])
    given, sure = torch.tensor(x), torch.tensor(known, dtype=torch.bool)
    theta = FLOW.prior((count, 4), dtype=torch.float64)
    log_weights, drawn_anew = torch.zeros(count, dtype=torch.float64), 0
    assert len(found["states"]) == N + 1
    for i, state in enumerate(found["states"]):
        plain, informed = (pretended(theta, i / N, one) for one in (-1, label))
        odds = plain + weight * (informed - plain) if label >= 0 else plain
        output = Categorical(as_logits(odds))
        beliefs = theta.logits[..., 1] - theta.logits[..., 0]
        assert state["i"] == i
        assert state["beliefs"] == pytest.approx(beliefs.flatten().tolist(), abs=1e-4)
        assert state["guess"] == pytest.approx(odds.flatten().tolist(), abs=1e-4)
        if i == N:
            cost = torch.where(sure, FLOW.final_cost(given.expand(count, 4), output), 0).sum(1)
            assert state["last"] == pytest.approx(cost.tolist(), abs=1e-4)
            log_weights = log_weights - cost if count > 1 else log_weights
        assert state["logWeights"] == pytest.approx(log_weights.log_softmax(0).tolist(), abs=1e-3)
        if i == N:
            break
        random, alpha = found["random"][i], torch.tensor(FLOW.alpha(i + 1, N)).double()
        value = (torch.tensor(random["uniform"]) < output.probs[..., 1]).long()
        value = torch.where(sure, given, value)
        z = torch.tensor(random["normal"], dtype=torch.float64)
        z = torch.where(sure, z[:1], z)
        sender = FLOW.sender(value, alpha)
        y = sender.mean + (alpha.sqrt() * z).unsqueeze(-1) * torch.tensor([-1.0, 1.0])
        lost = sender.log_prob(y) - FLOW.receiver(output, alpha).log_prob(y)
        if count > 1:
            log_weights = log_weights - torch.where(sure, lost, 0).sum(1)
        theta = FLOW.update(theta, y, alpha)
        # The two prices, without the control variate: that was tested message by message.
        after = found["states"][i + 1]
        if effective(log_weights.log_softmax(0)) < count / 2:
            drawn_anew += 1
            cdf = log_weights.softmax(0).cumsum(0)
            marks = (torch.arange(count) + random["offset"]) / count
            parents = torch.searchsorted(cdf, marks).clamp(max=count - 1)
            assert after["parents"] == parents.tolist()
            theta = CategoricalParameters(theta.logits[parents])
            log_weights = torch.zeros_like(log_weights)
        else:
            assert after["parents"] == list(range(count))
        assert bool(sum(after["given"])) == any(known) and bool(sum(after["own"])) != all(known)
    assert bool(drawn_anew) == (count == 6 and sum(known) == 2)  # those who know all are equal


# The network itself.


@pytest.fixture(scope="module")
def drawing(tmp_path_factory):
    """The folder of the page on which the reader draws."""
    from tools import drawing

    folder = tmp_path_factory.mktemp("drawing")
    try:
        drawing.write(folder)
    except DataError as error:
        unavailable(f"The network was not run in a browser: {error}")
    return folder


@pytest.fixture(scope="module")
def asked():
    """Beliefs, times and labels as they come up, and what the network makes of them."""
    bfn = shipped("mnist_conditional")
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand(6, 1, 28, 28, generator=generator) < 0.2).long()
    t = torch.tensor([0.0, 0.1, 0.4, 0.6, 0.9, 1.0])
    label = torch.tensor([-1, 3, 0, 9, -1, 5])
    theta = bfn.flow.sample_flow(x, t, generator).probs.float()
    theta[0] = 0.5
    with torch.no_grad():
        return theta, t, label, bfn.network.eval()(theta, t, label)


def test_the_network_in_the_browser_says_what_torch_says(chromium, drawing, asked):
    theta, t, label, raw = asked
    with served(drawing) as address:
        page = chromium.new_page()
        problems = []
        page.on("request", lambda r: None if r.url.startswith((address, "blob:", "data:"))
                else problems.append(r.url))
        (drawing / "empty.html").write_text("<!doctype html>", "utf-8")
        (drawing / "network.js").write_text(browser.script("network"), "utf-8")
        names = ["mnist_conditional.onnx.gz", *RUNTIME]
        page.goto(f"{address}empty.html")
        found = page.evaluate(
            """async ([theta, t, label, names]) => {
                const { fetched, ofPixels, open } = await import("./network.js");
                let heard = 0;
                const get = (name) => fetched(name, (count) => { heard += count; });
                const [model, ...runtime] = await Promise.all(names.map(get));
                const network = ofPixels(await open(runtime, model));
                return { raw: [...await network(Float32Array.from(theta), t, label)], heard };
            }""",
            [theta.flatten().tolist(), t.tolist(), label.tolist(), names],
        )
        page.close()
    assert problems == []
    assert found["heard"] == sum((drawing / name).stat().st_size for name in names)
    ours = torch.tensor(found["raw"]).view_as(raw)
    assert (ours.softmax(-1) - raw.softmax(-1)).abs().max() < 1e-3
    assert (ours - raw).abs().max() < 2e-3  # logits up to 30, from weights of 16 bits


def test_the_record_is_of_the_files_that_are_shipped(drawing):
    from tools import drawing as tool

    found = record("drawing")
    weights = {name: digest(asset(f"{name}.safetensors"))[:8] for name in tool.BITS}
    assert found["weights"] == weights
    sizes = {name: (drawing / name).stat().st_size for name in found["bytes"]}
    # How well zlib packs depends on its version.
    assert found["bytes"] == pytest.approx(sizes, rel=0.02)
    for name, loaded, more in ((tool.MODEL, tool.LOADED, 0.01), ("text8", tool.WRITES, 0.02)):
        assert sum(sizes[file] for file in loaded) < 15e6 and sizes[loaded[-1]] < 8e6
        lost = found["lost"][name]
        assert lost["bits"] == tool.BITS[name]
        assert abs(lost["more"]) < more and lost["standard error of more"] < more / 3
        calls = {slower: 1000 / spent["1"] for slower, spent in found["milliseconds"][name].items()}
        assert f"{calls['1']:.{0 if calls['1'] > 5 else 1}f} |" in tool.table(name == "text8")
        if name == tool.MODEL:
            assert calls["1"] > 30 and calls["6"] > 5  # a second


# The solver, which sends no messages.

SOLVE = """async ([options, seed]) => {
  const { x, n, count } = options;
  const draws = window.ours.noise(seed);
  const network = async (theta, times) => Float32Array.from(theta, (p, j) => {
    const one = Math.floor(j / (2 * x.length));
    return (j & 1) * (4 * theta[j ^ 2] - 2 + times[one]) * (1 + times[one]);
  });
  const states = [];
  for await (const s of window.ours.filling({ ...options, network, quick: true, random: draws })) {
    states.push({ i: s.i, beliefs: [...s.beliefs], guess: [...s.guess], weights: s.logWeights });
  }
  const drawn = [1023, ...Array(n).keys()].map((i) =>
    [...Array(count).keys()].map((c) => draws.normal(i, c, x.length)));
  return { states, drawn };
}"""


class Pretended(torch.nn.Module):
    """The same network, as torch has it."""

    def __init__(self):
        super().__init__()
        self.like = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, inputs, t):
        other = inputs[..., 1][:, [1, 0, 3, 2]]
        odds = (4 * other - 2 + t[:, None]) * (1 + t[:, None])
        return torch.stack([torch.zeros_like(odds), odds], -1)


@pytest.mark.parametrize("known", [[0, 0, 0, 0], [1, 0, 1, 0]])
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_the_solver_is_that_of_bfn_core(chromium, call, monkeypatch, known, eta):
    count, x = 3, [1, 0, 0, 1]
    page = chromium.contexts[0].pages[-1]
    options = {"x": x, "known": known, "n": N, "beta1": BETA, "count": count, "eta": eta}
    found = page.evaluate(SOLVE, [options, 5])
    # A difference of two classes has twice the noise that the browser draws for it.
    halves = torch.tensor([-1.0, 1.0], dtype=torch.float64) / math.sqrt(2)
    drawn = iter([torch.tensor(z, dtype=torch.float64)[..., None] * halves
                  for z in [found["drawn"][0], *found["drawn"][2:]]])
    monkeypatch.setattr(solvers, "draw_normal", lambda like, generator: next(drawn))
    bfn = BFN(FLOW, Pretended())
    given = (torch.tensor(x).expand(count, 4), torch.tensor(known, dtype=torch.bool))
    steps = solvers.Solver("ab2", noise=eta).steps(bfn, (count, 4), N, given=given)
    for state, step in zip(found["states"], steps, strict=True):
        beliefs = step.theta.logits[..., 1] - step.theta.logits[..., 0]
        odds = step.output.log_probs[..., 1] - step.output.log_probs[..., 0]
        assert state["beliefs"] == pytest.approx(beliefs.flatten().tolist(), abs=1e-4)
        assert state["guess"] == pytest.approx(odds.flatten().tolist(), abs=1e-4)
        assert state["weights"] == pytest.approx([-math.log(count)] * count)
    assert max(abs(b) for b in found["states"][-1]["beliefs"]) > 1
