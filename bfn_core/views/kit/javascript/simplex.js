// The flow of a belief about three classes, drawn in the reader's own browser.
//
// First the mathematics, in pure functions (equation numbers of arXiv 2308.07037); tests/ holds
// them against bfn_core. Then the picture. A belief is an array of three probabilities.

import { FONT, addWords, element, normals, number, stage } from "./stage.js";

// ---- The mathematics ---------------------------------------------------------------------------

// Accumulated accuracy of the messages up to time t: beta(1) t^2 (182).
export const beta = (t, beta1) => beta1 * t * t;

export function softmax(y) {
  const largest = Math.max(...y);
  const parts = y.map((value) => Math.exp(value - largest));
  const total = parts.reduce((a, b) => a + b, 0);
  return parts.map((part) => part / total);
}

// The flow distribution (185): theta = softmax(y), and every component of y is Gaussian with this
// mean and this variance. The mean is shifted to sum to 0, which softmax cannot tell.
export function flow(x, t, beta1) {
  const variance = 3 * beta(t, beta1);
  return { mean: [0, 1, 2].map((k) => variance * ((k === x) - 1 / 3)), variance };
}

// The belief at time t that has met this noise, three standard normal numbers.
export function belief(noise, x, t, beta1) {
  const { mean, variance } = flow(x, t, beta1);
  return softmax(mean.map((m, k) => m + Math.sqrt(variance) * noise[k]));
}

// Log-ratios: the logarithms of the probabilities, less their mean. A message is a step in them.
export function logRatios(theta) {
  const logs = theta.map(Math.log);
  const mean = (logs[0] + logs[1] + logs[2]) / 3;
  return logs.map((value) => value - mean);
}

// The density of the flow at theta: per unit of "log-ratio", where it is a round Gaussian, or per
// "area" of the triangle, where 1 is the density of beliefs spread evenly. The second is the first
// over the Jacobian of the softmax, sqrt(3) theta_1 theta_2 theta_3, and over 2! for the units.
export function density(theta, x, t, beta1, measure) {
  const { mean, variance } = flow(x, t, beta1);
  const squares = logRatios(theta).reduce((sum, u, k) => sum + (u - mean[k]) ** 2, 0);
  const perRatio = Math.exp(-0.5 * squares / variance) / (2 * Math.PI * variance);
  if (measure === "log-ratio") return perRatio;
  return perRatio / (2 * Math.sqrt(3) * theta[0] * theta[1] * theta[2]);
}

// A closed curve that holds this share of the beliefs: a circle in the log-ratios.
export function ring(share, x, t, beta1, points = 180) {
  const { mean, variance } = flow(x, t, beta1);
  const radius = Math.sqrt(-2 * variance * Math.log1p(-share));
  const up = [0, 1, 2].map((k) => (k === x ? 2 : -1) / Math.sqrt(6));
  const across = [0, 1, 2].map((k) => ((k === (x + 1) % 3) - (k === (x + 2) % 3)) / Math.sqrt(2));
  return Array.from({ length: points + 1 }, (_, i) => {
    const angle = (2 * Math.PI * i) / points;
    return softmax(mean.map((m, k) =>
      m + radius * (Math.cos(angle) * up[k] + Math.sin(angle) * across[k])));
  });
}

// The log-odds of the true class against one rival: N(beta K, 2 beta K) with K = 3.
export function logOdds(t, beta1) {
  return { mean: 3 * beta(t, beta1), std: Math.sqrt(6 * beta(t, beta1)) };
}

// Nats still unknown on average after messages of accuracy `b`: a line through the points of a
// table made by bfn_core, [3 b, share of ln 3].
export function unknown(b, [spread, share]) {
  const v = 3 * b;
  let i = 1;
  while (i < spread.length - 1 && spread[i] < v) i++;
  const part = Math.min(1, (v - spread[i - 1]) / (spread[i] - spread[i - 1]));
  return Math.log(3) * (share[i - 1] + part * (share[i] - share[i - 1]));
}

// ---- The picture -------------------------------------------------------------------------------

const FINE = 280; // pixels of the shading along a side of the triangle, before it is enlarged
const ODDS = [-10, 32]; // the log-odds shown
const DENSEST = Math.log(100); // densities per area from 1/100 to 100 times even get a shade

// Corners A, B, C of a triangle in a box, and where a belief lies in it.
const corners = ({ x, y, w, h }) => [[x + w / 2, y], [x, y + h], [x + w, y + h]];
const place = (theta, box) => [0, 1].map((axis) =>
  corners(box).reduce((sum, corner, k) => sum + theta[k] * corner[axis], 0));

// The pixels of the shading: where they are in the picture, two log-ratios (the third is minus
// their sum), and the sum of their logarithms. Pixels just outside the triangle get the belief on
// the edge next to them, so that the enlarged picture has no rim.
function makeGrid() {
  const rows = Math.round(FINE * Math.sqrt(0.75));
  const pixels = [];
  for (let pixel = 0; pixel < rows * FINE; pixel++) {
    const top = 1 - (Math.floor(pixel / FINE) + 0.5) / rows;
    const right = ((pixel % FINE) + 0.5) / FINE - top / 2;
    const theta = [top, 1 - top - right, right];
    if (Math.min(...theta) < -3 / FINE) continue;
    const kept = theta.map((p) => Math.max(p, 0.3 / FINE));
    const total = kept[0] + kept[1] + kept[2];
    const logs = kept.map((p) => Math.log(p / total));
    const sum = logs[0] + logs[1] + logs[2];
    pixels.push([pixel, logs[0] - sum / 3, logs[1] - sum / 3, sum]);
  }
  const canvas = document.createElement("canvas");
  canvas.width = FINE;
  canvas.height = rows;
  const column = (k) => Float32Array.from(pixels, (row) => row[k]);
  return { canvas, image: new ImageData(FINE, rows), place: Int32Array.from(pixels, (p) => p[0]),
    a: column(1), b: column(2), sum: column(3) };
}

// The shading: per log-ratio, the density over its peak; per area, its logarithm.
function shade(grid, s) {
  const { mean, variance } = flow(s.x, s.t, s.beta_1);
  const v = Math.max(variance, 1e-4);
  const level = DENSEST - Math.log(2 * Math.PI * v) - Math.log(2 * Math.sqrt(3));
  const [red, green, blue] = [1, 3, 5].map((i) => parseInt(s.colours.flow.slice(i, i + 2), 16));
  const perArea = s.measure === "area";
  const data = grid.image.data;
  for (let i = 0; i < grid.place.length; i++) {
    const a = grid.a[i] - mean[0];
    const b = grid.b[i] - mean[1];
    const log = -(a * a + b * b + a * b) / v; // half the sum of three squares, the third (a + b)^2
    const share = perArea ? (log + level - grid.sum[i]) / (2 * DENSEST) : Math.exp(log);
    const at = 4 * grid.place[i];
    data[at] = red;
    data[at + 1] = green;
    data[at + 2] = blue;
    data[at + 3] = 255 * share; // what lies outside 0 to 255 is clamped
  }
  grid.canvas.getContext("2d").putImageData(grid.image, 0, 0);
  return grid.canvas;
}

function trace(pen, points) {
  pen.beginPath();
  for (const [x, y] of points) pen.lineTo(x, y);
}

function dot(pen, [x, y], radius) {
  pen.beginPath();
  pen.arc(x, y, radius, 0, 2 * Math.PI);
  pen.fill();
}

function drawTriangle(pen, box, s, grid, noise) {
  const outline = corners(box);
  pen.save();
  trace(pen, outline);
  pen.clip();
  pen.imageSmoothingQuality = "high";
  if (s.t > 0) pen.drawImage(shade(grid, s), box.x, box.y, box.w, box.h);
  pen.restore();

  pen.lineWidth = 1;
  pen.strokeStyle = s.colours.faint;
  outline.forEach(([x, y], k) => {
    trace(pen, [[x, y], place([0, 1, 2].map((j) => (j === k ? 0 : 0.5)), box)]);
    pen.stroke();
  });
  pen.strokeStyle = s.colours.flow;
  pen.lineWidth = 1.5;
  for (const share of s.t > 0 ? [0.5, 0.9] : []) {
    trace(pen, ring(share, s.x, s.t, s.beta_1).map((theta) => place(theta, box)));
    pen.stroke();
  }
  pen.strokeStyle = s.colours.data;
  trace(pen, outline);
  pen.closePath();
  pen.stroke();
  pen.fillStyle = s.colours.input;
  pen.globalAlpha = 0.75;
  for (let i = 0; i < s.beliefs; i++) {
    dot(pen, place(belief(noise.slice(3 * i, 3 * i + 3), s.x, s.t, s.beta_1), box), 2.4);
  }
  pen.globalAlpha = 1;
  outline.forEach(([x, y], k) => drawCorner(pen, x, y + (k ? 19 : -11), s.names[k], k === s.x, s));
}

function drawCorner(pen, x, y, name, true_, { colours }) {
  pen.textAlign = "center";
  pen.font = `${true_ ? "bold 15px" : "14px"} ${FONT.slice(5)}`;
  pen.fillStyle = true_ ? colours.text : "#777";
  pen.fillText(name, x, y + 4);
  if (true_) {
    pen.strokeStyle = colours.data;
    pen.lineWidth = 1.5;
    pen.beginPath();
    pen.arc(x, y - 1, 11, 0, 2 * Math.PI);
    pen.stroke();
  }
}

// A panel with a horizontal axis from `low` to `high`; returns where a value lies in it.
function panel(pen, box, title, [low, high], ticks) {
  const across = (value) => box.x + ((value - low) / (high - low)) * box.w;
  pen.fillStyle = "#222";
  pen.textAlign = "left";
  pen.font = `600 ${FONT}`;
  pen.fillText(title, box.x, box.y - 9);
  pen.font = FONT;
  pen.textAlign = "center";
  pen.lineWidth = 1;
  for (const [value, text] of ticks) {
    pen.strokeStyle = "#e4e4e4";
    trace(pen, [[across(value), box.y], [across(value), box.y + box.h]]);
    pen.stroke();
    pen.fillStyle = "#555";
    pen.fillText(text, across(value), box.y + box.h + 16);
  }
  pen.strokeStyle = "#bbb";
  trace(pen, [[box.x, box.y + box.h], [box.x + box.w, box.y + box.h]]);
  pen.stroke();
  return across;
}

function drawOdds(pen, box, s) {
  const thousand = Math.log(1000);
  const across = panel(pen, box, "Odds of the true class against another", ODDS,
    [[-thousand, "1 : 10\u00b3"], [0, "1 : 1"], [thousand, "10\u00b3 : 1"],
      [2 * thousand, "10\u2076 : 1"], [4 * thousand, "10\u00b9\u00b2 : 1"]]);
  const { mean, std } = logOdds(s.t, s.beta_1);
  const wide = Math.max(std, 0.06);
  const curve = Array.from({ length: 301 }, (_, i) => {
    const v = mean + wide * (i / 30 - 5);
    const height = Math.exp(-0.5 * ((v - mean) / wide) ** 2);
    return [across(v), box.y + box.h - 0.92 * box.h * height];
  });
  pen.save();
  pen.beginPath();
  pen.rect(box.x, box.y, box.w, box.h);
  pen.clip();
  trace(pen, curve);
  pen.fillStyle = pen.strokeStyle = s.colours.flow;
  pen.globalAlpha = 0.2;
  pen.fill();
  pen.globalAlpha = 1;
  pen.lineWidth = 2;
  pen.stroke();
  pen.restore();
}

function drawUnknown(pen, box, s) {
  const across = panel(pen, box, "Nats still unknown on average, of ln 3", [0, 1],
    [0, 0.25, 0.5, 0.75, 1].map((t) => [t, `${t ? "" : "t = "}${t}`]));
  const height = (t) => box.y + box.h * (1 - unknown(beta(t, s.beta_1), s.entropy) / Math.log(3));
  trace(pen, Array.from({ length: 121 }, (_, i) => [across(i / 120), height(i / 120)]));
  pen.strokeStyle = pen.fillStyle = s.colours.input;
  pen.lineWidth = 2;
  pen.stroke();
  dot(pen, [across(s.t), height(s.t)], 5.5);
  pen.strokeStyle = "#222";
  pen.lineWidth = 1;
  trace(pen, [[across(s.t), box.y], [across(s.t), box.y + box.h]]);
  pen.stroke();
}

// The triangle on the left and two panels on the right, or below it where there is less room.
export function layout(width) {
  const narrow = width < 640;
  const side = Math.min(narrow ? width - 40 : 0.5 * width, 450);
  const triangle = { x: narrow ? (width - side) / 2 : 16, y: 34, w: side, h: side * Math.sqrt(0.75) };
  const x = narrow ? 24 : triangle.x + side + 54;
  const w = width - x - 24;
  const first = narrow ? triangle.y + triangle.h + 66 : 34;
  const h = narrow ? 110 : (triangle.h - 66) / 2;
  const odds = { x, y: first, w, h };
  const bits = { x, y: first + h + 66, w, h };
  return { triangle, odds, bits, height: bits.y + h + 34 };
}

// The legend: a colour, a name, its numbers now, and what it is.
function words(s) {
  const b = beta(s.t, s.beta_1);
  const { mean, std } = logOdds(s.t, s.beta_1);
  const shading = s.measure === "area"
    ? "shade: density per area, even = half dark" : "shade: share of beliefs further out";
  return [
    ["flow", "flow p<sub>F</sub>", "half, 9/10 in the lines", shading],
    ["input", "beliefs \u03b8", `${s.beliefs} draws`, "each keeps its noise as t moves"],
    ["sender", "messages so far", `\u03b2(t) = ${number(b)}`, "their accuracy, \u03b2(1) t\u00b2"],
    ["data", `true class ${s.names[s.x]}`, `log-odds ${number(mean)} \u00b1 ${number(std)}`,
      "against each other class"],
    ["input", "still unknown", `${number(unknown(b, s.entropy), 3)} nats`, "of ln 3 = 1.099"],
  ];
}

function sentence(s) {
  const { mean, std } = logOdds(s.t, s.beta_1);
  const nats = unknown(beta(s.t, s.beta_1), s.entropy);
  return `A triangle with the classes ${[...s.names].join(", ")} at its corners. At time ` +
    `${number(s.t)} of the flow towards ${s.names[s.x]}, the log-odds of the true class are ` +
    `${number(mean)}, give or take ${number(std)}; ${number(nats)} of 1.10 nats are still unknown.`;
}

const CONTROLS = [
  { name: "t", label: "time t", min: 0, max: 1, step: 0.01, digits: 2 },
  { name: "beta_1", label: "final accuracy \u03b2(1)", min: -1, max: 0.8, step: 0.02, digits: 2,
    to: (v) => 10 ** v, from: Math.log10 },
  { name: "x", label: "true class", options: [["A", 0], ["B", 1], ["C", 2]] },
  { name: "measure", label: "shade per", options: [["log-ratio", "log-ratio"], ["area", "area"]] },
];

function render({ model, el }) {
  const grid = makeGrid();
  let noise = [];
  let noiseSeed = null;

  function draw(pen, width, s) {
    if (s.seed !== noiseSeed) {
      noise = normals(3 * s.beliefs, s.seed);
      noiseSeed = s.seed;
    }
    const boxes = layout(width);
    drawTriangle(pen, boxes.triangle, s, grid, noise);
    drawOdds(pen, boxes.odds, s);
    drawUnknown(pen, boxes.bits, s);
    showWords(words(s));
    pen.canvas.setAttribute("aria-label", sentence(s));
  }

  const { root, canvas, s, change, settled, stop, close } =
    stage({ model, el, controls: CONTROLS, layout, draw });
  const showWords = addWords(root, s.colours);
  element("div", root, { className: "note", textContent:
    "Click near a corner to make it the true class. Drag along the lower curve to move in time." });

  canvas.addEventListener("pointerdown", pointed);
  canvas.addEventListener("pointermove", pointed);
  canvas.addEventListener("pointerup", settled);
  function pointed(event) {
    if (event.buttons !== 1) return;
    const area = canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - area.left, event.clientY - area.top];
    const { triangle, bits } = layout(area.width);
    if (event.type === "pointerdown") {
      const near = corners(triangle).findIndex((c) => Math.hypot(x - c[0], y - c[1]) < 45);
      if (near >= 0) change("x", near);
      if (x < bits.x - 12 || y < bits.y - 12 || y > bits.y + bits.h + 20) return;
      canvas.setPointerCapture(event.pointerId);
    } else if (!canvas.hasPointerCapture(event.pointerId)) {
      return;
    }
    stop();
    change("t", Math.round(100 * Math.min(1, Math.max(0, (x - bits.x) / bits.w))) / 100);
  }
  return close;
}

export default { render };
