// Draws and writes away from the page, so that the page never waits: it is sent a task and sends back
// states. A new task ends the one before it, unless that is `whole`: then the new one waits, and only
// the newest of those that wait is begun.

import { noise } from "./candidates.js";
import { writing } from "./letters.js";
import { CARD, compared, fetched, hasCard, ofLetters, ofPixels, open, RUNTIME } from "./network.js";
import { filling, probability } from "./pixels.js";

let network; // runs the model: on the processor, or later on the graphics card
let engine = "wasm";
let tryCard = null; // to be called once, when there is nothing else to do
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
      belief, guess, logWeights, parents, given, own, last, engine, ms: now - before, calls: 1 },
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
  const now = tryCard;
  tryCard = null;
  now?.();
}

// Where there is a graphics card, loads what drives it, and goes over to it if it gives the same, and
// sooner. Whatever goes wrong, all stays as it is.
async function onCard({ folder, always }, model, inputs) {
  if (!always && !await hasCard()) return;
  const opening = Promise.all(CARD.map((name) => fetched(folder + name, () => 0)))
    .then((files) => open(files, model, "webgpu"));
  const found = await compared(network, opening, inputs);
  if (found.run) [network, engine] = [found.run, "webgpu"];
  postMessage({ kind: "card", engine, why: found.why ?? "", milliseconds: found.milliseconds });
}

// Inputs of the model for one call, of the sizes that the page will ask for.
function example({ classes, length }) {
  if (classes) {
    const theta = new Float32Array(2 * length * classes).fill(1 / classes);
    return ofLetters((inputs) => inputs, classes)(theta, [0.5, 0.5]);
  }
  return ofPixels((inputs) => inputs)(new Float32Array(4 * 1568).fill(0.5), Array(4).fill(0.5),
    Array(4).fill(-1));
}

// The runtime and the model, from their bytes, or from their addresses, which may have digests. With
// `card` a graphics card is tried: { folder: of CARD's files, always: even if none is seen }.
async function start({ files, addresses, model, digests = [], card, sizes }) {
  const heard = (count) => postMessage({ kind: "bytes", count });
  const [one, ...runtime] = await Promise.all([
    model.bytes ?? fetched(model.address, heard),
    ...RUNTIME.map((_, k) => files?.[k] ?? fetched(addresses[k], heard, digests[k]))]);
  network = await open(runtime, one);
  if (card) tryCard = () => onCard(card, one, example(sizes));
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
