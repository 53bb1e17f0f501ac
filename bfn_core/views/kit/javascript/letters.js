// A BFN of letters, or of any K classes side by side, that writes and fills gaps, without its
// network, which comes from outside. Pure functions (equation numbers of arXiv 2308.07037); tests/
// holds them against bfn_core. They ask for no page, so that they run in a worker.
//
// A belief is a row of L · K logits ln theta, letter after letter; messages are added to it, which is
// Bayes' rule (171). What all K share has no meaning, and softmax takes it out.

import { noise, solved, weighted } from "./candidates.js";

// ln of the sum of exp(f(k)), k = 0...count - 1.
function logSum(count, f) {
  let largest = -Infinity;
  for (let k = 0; k < count; k++) largest = Math.max(largest, f(k));
  let sum = 0;
  for (let k = 0; k < count; k++) sum += Math.exp(f(k) - largest);
  return largest + Math.log(sum);
}

// ln of probabilities from any logits, K at a time.
export function logProbabilities(logits, classes) {
  const logs = new Float64Array(logits.length);
  for (let at = 0; at < logits.length; at += classes) {
    const total = logSum(classes, (k) => logits[at + k]);
    for (let k = 0; k < classes; k++) logs[at + k] = logits[at + k] - total;
  }
  return logs;
}

// The class at which the cumulated probabilities pass `chance`, 0 to 1.
export function drawn(logs, chance) {
  let sum = 0;
  for (let k = 0; k < logs.length; k++) {
    sum += Math.exp(logs[k]);
    if (chance < sum) return k;
  }
  return logs.length - 1; // what rounding left
}

// What Alice sends about class x, with K standard normal numbers (157).
export const messageAbout = (x, alpha, normal) => normal.map((z, k) =>
  alpha * (normal.length * (k === x) - 1) + Math.sqrt(alpha * normal.length) * z);

// ln p_S(y) - ln p_R(y) of a message y about x, where `logs` are the network's (189, 190).
export const surpriseOf = (x, y, logs) => y[x] - logSum(y.length, (k) => logs[k] + y[k]);

// The same, less its slope in the noise, which is 0 on average: the nats that a message costs, as
// DiscreteFlow.step_cost has it.
export function priceOf(x, y, logs, alpha) {
  const classes = y.length;
  const mean = (k) => alpha * (classes * (k === x) - 1);
  const total = logSum(classes, (k) => logs[k] + mean(k));
  let slope = y[x] - mean(x);
  for (let k = 0; k < classes; k++) {
    slope -= Math.exp(logs[k] + mean(k) - total) * (y[k] - mean(k));
  }
  return surpriseOf(x, y, logs) - slope;
}

// The n + 1 states of `count` candidates for a line of letters, see candidates.js. x holds classes;
// where `known` is 1 the messages are Alice's, about x and the same for all; elsewhere they are about
// what is drawn from each one's own guess. `quick` takes the solver, which sends none. Guesses are
// ln of probabilities. `network(theta, times)` gives the raw output, or a promise of it.
export function writing({ network, x, known, n, beta1, classes, count = 1, random = noise(0),
  quick = false, eta = 1 }) {
  const size = x.length * classes;
  const ask = async (beliefs, t) => {
    const theta = Float32Array.from(logProbabilities(beliefs, classes), Math.exp);
    const times = Array(beliefs.length / size).fill(t);
    return logProbabilities(await network(theta, times), classes);
  };
  const common = { size, n, beta1, count, random, ask };
  if (quick) {
    const aim = (guess) => guess.map((log, at) => {
      const [j, k] = [Math.floor((at % size) / classes), at % classes];
      return classes * (known[j] ? Number(x[j] === k) : Math.exp(log));
    });
    return solved({ ...common, kappa: Math.sqrt(classes), aim, eta });
  }
  const fee = (guess, c) => known.reduce((sum, told, j) =>
    sum - (told ? guess[c * size + j * classes + x[j]] : 0), 0);
  return weighted({ ...common, fee,
    send: (step) => sentLetters({ ...step, x, known, count, classes, random }) });
}

// One message to each candidate, as candidates.js asks for it.
function sentLetters({ i, x, known, beliefs, guess, count, classes, random, alpha }) {
  const length = x.length;
  const size = length * classes;
  const after = new Float64Array(beliefs.length);
  const [given, own, surprises] = [0, 0, 0].map(() => Array(count).fill(0));
  const shared = random.normal(i, 0, size);
  for (let c = 0; c < count; c++) {
    const apart = c ? random.normal(i, c, size) : shared;
    const chance = random.uniform(i, c, length);
    for (let j = 0; j < length; j++) {
      const at = c * size + j * classes;
      const logs = guess.subarray(at, at + classes);
      const value = known[j] ? x[j] : drawn(logs, chance[j]);
      const normal = (known[j] ? shared : apart).slice(j * classes, (j + 1) * classes);
      const y = messageAbout(value, alpha, normal);
      (known[j] ? given : own)[c] += priceOf(value, y, logs, alpha);
      if (known[j]) surprises[c] += surpriseOf(value, y, logs);
      y.forEach((part, k) => { after[at + k] = beliefs[at + k] + part; });
    }
  }
  return { beliefs: after, given, own, surprises };
}
