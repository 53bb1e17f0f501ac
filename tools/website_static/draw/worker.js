// Draws away from the page, so that the page never waits: it is sent a task and sends back states.
// A new task ends the one before it, unless that is `whole`: then the new one waits, and only the
// newest of those that wait is begun.

import { open } from "./network.js";
import { filling, noise, probability } from "./pixels.js";

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

const bytes = (odds) => Uint8Array.from(odds, (v) => Math.round(255 * probability(v)));

async function work(task) {
  let before = performance.now();
  const { n, beta1, x, known, count, label, weight, seed } = task;
  const states = filling({ network, x, known, n, beta1, count, label, weight, random: noise(seed) });
  for await (const state of states) {
    const { i, logWeights, parents, given, own, last } = state;
    const now = performance.now();
    const [belief, guess] = [bytes(state.beliefs), bytes(state.guess)];
    postMessage({ kind: "state", task: task.id, i, n, count, belief, guess, logWeights, parents,
      given, own, last, ms: now - before, calls: 1 }, [belief.buffer, guess.buffer]);
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

const failed = (error) => postMessage({ kind: "error", words: String(error?.message ?? error) });

self.onmessage = ({ data }) => {
  if (data.kind === "open") {
    open((count) => postMessage({ kind: "bytes", count })).then((made) => {
      network = made;
      postMessage({ kind: "ready" });
    }, failed);
  } else {
    waiting = data;
    begin().catch(failed);
  }
};
