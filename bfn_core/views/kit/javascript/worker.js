// Draws and writes away from the page, so that the page never waits: it is sent a task and sends back
// states. A new task ends the one before it, unless that is `whole`: then the new one waits, and only
// the newest of those that wait is begun.

import { noise } from "./candidates.js";
import { writing } from "./letters.js";
import { fetched, ofLetters, ofPixels, open, RUNTIME } from "./network.js";
import { filling, probability } from "./pixels.js";

let network;
let waiting = null;
let working = false;

// To let messages arrive between two calls of the network. (A timer of 0 would wait for 4 ms.)
const door = new MessageChannel();
let opened;
door.port1.onmessage = () => opened();
const breath = () => new Promise((done) => {
  opened = done;
  door.port2.postMessage(null);
});

// Probabilities as bytes: of ink by its log odds, of a class by its logarithm.
const inked = (odds) => Uint8Array.from(odds, (v) => Math.round(255 * probability(v)));
const floats = (values) => Float32Array.from(values);

// The states of a task, and how its beliefs and guesses are sent.
function begun(task) {
  const options = { ...task, random: noise(task.seed) };
  if (task.classes) {
    return [writing({ ...options, network: ofLetters(network, task.classes) }), floats];
  }
  return [filling({ ...options, network: ofPixels(network) }), inked];
}

async function work(task) {
  let before = performance.now();
  const [states, packed] = begun(task);
  for await (const state of states) {
    const now = performance.now();
    const [belief, guess] = [packed(state.beliefs), packed(state.guess)];
    const { i, logWeights, parents, given, own, last } = state;
    postMessage({ kind: "state", task: task.id, i, n: task.n, count: task.count, quick: task.quick,
      belief, guess, logWeights, parents, given, own, last, ms: now - before, calls: 1 },
    [belief.buffer, guess.buffer]);
    before = now;
    await breath();
    if (waiting && !task.whole) return;
  }
}

async function begin() {
  if (working) return;
  working = true;
  while (waiting) {
    const task = waiting;
    waiting = null;
    await work(task);
  }
  working = false;
}

// The runtime and the model, from their bytes, or from their addresses, which may have digests.
async function start({ files, addresses, model, digests = [] }) {
  const heard = (count) => postMessage({ kind: "bytes", count });
  const [one, ...runtime] = await Promise.all([
    model.bytes ?? fetched(model.address, heard),
    ...RUNTIME.map((_, k) => files?.[k] ?? fetched(addresses[k], heard, digests[k]))]);
  network = await open(runtime, one);
  postMessage({ kind: "ready" });
}

const failed = (error) => postMessage({ kind: "error", words: String(error?.message ?? error) });

self.onmessage = ({ data }) => {
  if (data.kind === "open") {
    start(data).catch(failed);
  } else {
    waiting = data;
    begin().catch(failed);
  }
};
