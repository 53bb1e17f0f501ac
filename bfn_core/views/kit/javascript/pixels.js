// A BFN of black and white pixels that draws and completes pictures, without its network, which
// comes from outside. Pure functions (equation numbers of arXiv 2308.07037); tests/ holds them
// against bfn_core. They ask for no page, so that they run in a worker.
//
// With two classes all that matters is a difference: a belief is ln(theta_1 / theta_0), the log odds
// of ink, and a message is y_1 - y_0. Both are added, which is Bayes' rule (171).

import { normals, uniforms } from "./stage.js";

// Accuracy of message i = 1...n, where beta1 is that of all n together (193).
export const alpha = (i, n, beta1) => (beta1 * (2 * i - 1)) / n ** 2;

// The probability of ink.
export const probability = (odds) => 1 / (1 + Math.exp(-odds));

const softplus = (v) => Math.max(v, 0) + Math.log1p(Math.exp(-Math.abs(v)));

// What Alice sends about x, 0 or 1, with standard normal noise (157).
export const message = (x, alpha, noise) =>
  (x ? 2 : -2) * alpha + 2 * Math.sqrt(alpha) * noise;

// ln p_S(y) - ln p_R(y) of a message y about x, where `guess` is the network's log odds (189, 190).
export function surprise(x, y, guess) {
  const own = x ? guess : -guess;
  return softplus(-own) - softplus(-own - (x ? y : -y));
}

// The same, less its slope in the noise, which is 0 on average: the nats that a message costs, as
// DiscreteFlow.step_cost has it.
export function price(x, y, guess, alpha) {
  const [own, told] = x ? [guess, y] : [-guess, -y];
  return surprise(x, y, guess) - probability(-own - 2 * alpha) * (told - 2 * alpha);
}

// Nats for x itself when all messages are in: -ln p_O(x).
export const finalPrice = (x, guess) => softplus(x ? -guess : guess);

// A condition that counts w times, of log odds with it and without.
export const guided = (informed, plain, w) => plain + w * (informed - plain);

// ln of weights, so that they sum to 1.
export function normalised(logs) {
  const largest = Math.max(...logs);
  const total = largest + Math.log(logs.reduce((sum, v) => sum + Math.exp(v - largest), 0));
  return logs.map((v) => v - total);
}

// How many candidates of equal weight are worth as much: 1 / sum of squares.
export const effective = (logs) =>
  1 / normalised(logs).reduce((sum, v) => sum + Math.exp(2 * v), 0);

// Indices by weight: evenly spaced marks with one offset, 0 to 1, on the cumulated weights.
export function systematic(logs, offset) {
  const chosen = [];
  let sum = 0;
  normalised(logs).forEach((v, i) => {
    sum += Math.exp(v);
    while (chosen.length < logs.length && (chosen.length + offset) / logs.length <= sum) {
      chosen.push(i);
    }
  });
  while (chosen.length < logs.length) chosen.push(logs.length - 1); // what rounding left
  return chosen;
}

// Random numbers for message i and candidate c: the same for the same seed, whatever is known, so
// that a picture does not change all over with each pixel that is drawn.
export function noise(seed) {
  const key = (i, c) => (seed * 1024 + i) * 64 + c;
  return {
    normal: (i, c, count) => normals(count, 2 * key(i, c)),
    uniform: (i, c, count) => {
      const next = uniforms(2 * key(i, c) + 1);
      return Array.from({ length: count }, next);
    },
  };
}

// What the network reads: the probabilities of paper and of ink, pixel after pixel.
export function networkInput(beliefs) {
  const theta = new Float32Array(2 * beliefs.length);
  beliefs.forEach((odds, j) => {
    theta[2 * j] = probability(-odds);
    theta[2 * j + 1] = probability(odds);
  });
  return theta;
}

// The guesses, log odds of ink, of `count` candidates. A label, -1 for none, counts `weight` times;
// where it is neither never nor once, that takes two calls of the network, here side by side.
export async function guesses(network, beliefs, t, count, label = -1, weight = 1) {
  const both = label >= 0 && weight !== 0 && weight !== 1;
  const once = networkInput(beliefs);
  const theta = both ? new Float32Array([...once, ...once]) : once;
  const informed = Array(count).fill(weight === 0 ? -1 : label);
  const labels = both ? [...informed, ...Array(count).fill(-1)] : informed;
  const raw = await network(theta, labels.map(() => t), labels);
  const odds = (j) => raw[2 * j + 1] - raw[2 * j];
  return Float64Array.from(beliefs, (_, j) =>
    (both ? guided(odds(j), odds(beliefs.length + j), weight) : odds(j)));
}

// The n + 1 states of `count` candidates on the way from knowing nothing to a picture, as
// filling_steps of bfn_core/infilling.py has them. Where `known` is 1 the messages are Alice's, about
// x and the same for all; elsewhere they are about what is drawn from each one's own guess. With
// several candidates each is weighted by how well it foretold the messages about what is known, and
// where the weight comes to rest on few they are drawn anew.
//
// `network(theta, times, labels)` gives the raw output, or a promise of it. A state holds, by
// candidate: beliefs and guesses one after the other, logWeights, parents (whose state before it
// continues) and what the last message, or at the end the picture itself, cost: `given` for what is
// known and `own` for the rest.
export async function* filling({ network, x, known, n, beta1, count = 1, label = -1, weight = 1,
  random = noise(0) }) {
  const size = x.length;
  let beliefs = new Float64Array(count * size);
  let logs = Array(count).fill(0);
  let parents = logs.map((_, c) => c);
  let cost = { given: logs.map(() => 0), own: logs.map(() => 0) };
  for (let i = 0; i <= n; i++) {
    const guess = await guesses(network, beliefs, i / n, count, label, weight);
    const last = Array(count).fill(0); // the bill of what is known, at the end
    if (i === n) {
      logs.forEach((_, c) => known.forEach((told, j) => {
        if (told) last[c] += finalPrice(x[j], guess[c * size + j]);
      }));
      if (count > 1) logs = logs.map((v, c) => v - last[c]);
    }
    yield { i, beliefs, guess, logWeights: normalised(logs), parents, ...cost, last };
    if (i === n) return;

    const step = sent({ i, x, known, beliefs, guess, count, random, alpha: alpha(i + 1, n, beta1) });
    parents = logs.map((_, c) => c);
    logs = logs.map((v, c) => v - (count > 1 ? step.surprises[c] : 0));
    if (effective(logs) < count / 2) {
      parents = systematic(logs, random.uniform(i, 63, 1)[0]);
      logs = logs.map(() => 0);
    }
    beliefs = new Float64Array(count * size);
    parents.forEach((from, c) =>
      beliefs.set(step.beliefs.subarray(from * size, (from + 1) * size), c * size));
    cost = { given: parents.map((c) => step.given[c]), own: parents.map((c) => step.own[c]) };
  }
}

// One message to each candidate: its belief afterwards, what the message cost, and the surprise of
// what is known, by which candidates are weighted.
function sent({ i, x, known, beliefs, guess, count, random, alpha }) {
  const size = x.length;
  const after = new Float64Array(beliefs.length);
  const [given, own, surprises] = [0, 0, 0].map(() => Array(count).fill(0));
  const shared = random.normal(i, 0, size);
  for (let c = 0; c < count; c++) {
    const apart = c ? random.normal(i, c, size) : shared;
    const chance = random.uniform(i, c, size);
    for (let j = 0; j < size; j++) {
      const at = c * size + j;
      const value = known[j] ? x[j] : Number(chance[j] < probability(guess[at]));
      const y = message(value, alpha, known[j] ? shared[j] : apart[j]);
      (known[j] ? given : own)[c] += price(value, y, guess[at], alpha);
      if (known[j]) surprises[c] += surprise(value, y, guess[at]);
      after[at] = beliefs[at] + y;
    }
  }
  return { beliefs: after, given, own, surprises };
}
