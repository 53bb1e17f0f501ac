// Candidates for what is not known of one example, on their way from the prior to data: by messages
// and weights, as bfn_core/infilling.py has it, or by the ODE of bfn_core/solvers.py. What the data
// are, pixels or letters, comes from outside as functions; a belief is a row of numbers for each
// candidate, one row after the other, which messages are added to (171). tests/ holds all of it
// against bfn_core.

import { normals, uniforms } from "./stage.js";

// Accuracy of message i = 1...n, where beta1 is that of all n together (193).
export const alpha = (i, n, beta1) => (beta1 * (2 * i - 1)) / n ** 2;

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

// The n + 1 states of `count` candidates, by messages. `size` is the length of one belief;
// `ask(beliefs, t)` gives the guesses, or a promise of them; `send({ i, alpha, beliefs, guess })` a
// message to each: beliefs afterwards, and by candidate what it cost, `given` for what is known and
// `own` for the rest, and the `surprises` of what is known; `fee(guess, c)` the nats for what is
// known itself at the end. With several candidates each is weighted by how well it foretold the
// messages about what is known, and where the weight comes to rest on few they are drawn anew.
//
// A state holds beliefs and guesses, logWeights, parents (whose state before it continues), what the
// last message cost, and the last fee.
export async function* weighted({ size, n, beta1, count, random, ask, send, fee }) {
  let beliefs = new Float64Array(count * size);
  let logs = Array(count).fill(0);
  let parents = logs.map((_, c) => c);
  let cost = { given: logs.map(() => 0), own: logs.map(() => 0) };
  for (let i = 0; i <= n; i++) {
    const guess = await ask(beliefs, i / n);
    const last = logs.map((_, c) => (i === n ? fee(guess, c) : 0));
    if (count > 1) logs = logs.map((v, c) => v - last[c]);
    yield { i, beliefs, guess, logWeights: normalised(logs), parents, ...cost, last };
    if (i === n) return;

    const step = send({ i, beliefs, guess, alpha: alpha(i + 1, n, beta1) });
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

const START = 1023; // in the place of a message's number, for the noise at the beginning

// The n + 1 states by `Solver("ab2", noise=...)`: second order with n + 2 calls of the network, the
// first step by the midpoint rule. A belief is s = r v with r = sqrt(beta), `kappa` the size of its
// noise, and `aim(guess)` what v grows by, X in solvers.py, the truth where it is known. Nothing is
// sent, so there is no price, and all candidates weigh the same.
export async function* solved({ size, n, beta1, count, random, ask, kappa, aim, eta = 1 }) {
  const each = Array.from({ length: count }, (_, c) => c);
  const draw = (i) => Float64Array.from(each.flatMap((c) => random.normal(i, c, size)));
  const root = (t) => Math.sqrt(beta1) * t; // beta is that of all messages times t squared
  const belief = (v, r) => v.map((one) => r * one);
  const logWeights = normalised(each.map(() => 0));
  const none = each.map(() => 0);
  let v = draw(START).map((z) => kappa * z);
  let before = null;
  for (let i = 0; i <= n; i++) {
    const [r, next] = [root(i / n), root((i + 1) / n)];
    const beliefs = belief(v, r);
    const guess = await ask(beliefs, i / n);
    yield { i, beliefs, guess, logWeights, parents: each, given: none, own: none, last: none };
    if (i === n) return;

    const x = aim(guess);
    let use;
    if (before) { // on a straight line in asinh r to half a step on
      const place = Math.asinh(r);
      const ahead = (Math.asinh(next) - place) / (2 * (place - Math.asinh(root((i - 1) / n))));
      use = x.map((one, j) => one + (one - before[j]) * ahead);
    } else {
      const middle = belief(v.map((one, j) => one + (next / 2) * x[j]), next / 2);
      use = aim(await ask(middle, 0.5 / n));
    }
    const keep = i ? (r / next) ** eta : 1;
    const fresh = i && eta ? draw(i) : null;
    const size2 = kappa * Math.sqrt(1 - keep ** 2);
    v = v.map((one, j) =>
      next * use[j] + keep * (one - r * use[j]) + (fresh ? size2 * fresh[j] : 0));
    before = x;
  }
}
