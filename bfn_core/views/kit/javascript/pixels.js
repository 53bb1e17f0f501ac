// A BFN of black and white pixels that draws and completes pictures, without its network, which
// comes from outside. Pure functions (equation numbers of arXiv 2308.07037); tests/ holds them
// against bfn_core. They ask for no page, so that they run in a worker.
//
// With two classes all that matters is a difference: a belief is ln(theta_1 / theta_0), the log odds
// of ink, and a message is y_1 - y_0. Both are added, which is Bayes' rule (171).

import { noise, solved, weighted } from "./candidates.js";

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

// The n + 1 states of `count` candidates on the way from knowing nothing to a picture, see
// candidates.js. Where `known` is 1 the messages are Alice's, about x and the same for all; elsewhere
// they are about what is drawn from each one's own guess. `quick` takes the solver, which sends none.
// `network(theta, times, labels)` gives the raw output, or a promise of it.
export function filling({ network, x, known, n, beta1, count = 1, label = -1, weight = 1,
  random = noise(0), quick = false, eta = 1 }) {
  const size = x.length;
  const ask = (beliefs, t) =>
    guesses(network, beliefs, t, beliefs.length / size, label, weight);
  const common = { size, n, beta1, count, random, ask };
  if (quick) {
    const aim = (guess) => guess.map((odds, at) =>
      2 * (2 * (known[at % size] ? x[at % size] : probability(odds)) - 1));
    return solved({ ...common, kappa: 2, aim, eta });
  }
  const fee = (guess, c) => known.reduce((sum, told, j) =>
    sum + (told ? finalPrice(x[j], guess[c * size + j]) : 0), 0);
  return weighted({ ...common, fee, send: (step) => sent({ ...step, x, known, count, random }) });
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
