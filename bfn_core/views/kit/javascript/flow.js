// The flow of one number, drawn in the reader's own browser.
//
// First the mathematics, in pure functions (equation numbers of arXiv 2308.07037); tests/ holds
// them against bfn_core. Then the picture. The same file serves a live notebook (as an anywidget)
// and a static page (with a stand-in for the model). It asks nothing of any other host.

import { FONT, addWords, element, normals, number, stage } from "./stage.js";

// ---- The mathematics ---------------------------------------------------------------------------

// Accumulated accuracy of the messages up to time t: sigma1^(-2t) - 1 (72).
export const beta = (t, sigma1) => Math.expm1(-2 * t * Math.log(sigma1));

// The share of the belief that rests on messages: beta / (1 + beta) (80).
export const gamma = (t, sigma1) => -Math.expm1(2 * t * Math.log(sigma1));

// Accuracy of the next of n messages: the one sent from t to t + 1/n, at the latest the last.
export function alpha(t, n, sigma1) {
  const start = Math.min(t, 1 - 1 / n);
  return beta(start + 1 / n, sigma1) - beta(start, sigma1);
}

// The flow distribution of the belief's mean mu, given the true x (77).
export function flow(x, t, sigma1) {
  const g = gamma(t, sigma1);
  return { mean: g * x, std: Math.sqrt(g * (1 - g)) };
}

// What a perfect network makes of the belief (mu, precision 1 + beta) when the data are a mixture
// of Gaussians: again a mixture. The data's own precision 1/std^2 and the messages' beta add up.
export function output(mu, beta, { means, weights, std }) {
  const evidence = (1 + beta) * mu; // accuracy times mean of all messages so far
  const precision = 1 / std ** 2 + beta;
  const logs = means.map(
    (m, j) => Math.log(weights[j]) + (evidence * m - 0.5 * beta * m * m) / (1 + beta * std ** 2));
  const largest = Math.max(...logs);
  const parts = logs.map((value) => Math.exp(value - largest));
  const total = parts.reduce((a, b) => a + b, 0);
  const mixture = {
    weights: parts.map((part) => part / total),
    means: means.map((m) => (m / std ** 2 + evidence) / precision),
    std: 1 / Math.sqrt(precision),
  };
  mixture.mean = mixture.weights.reduce((sum, w, j) => sum + w * mixture.means[j], 0);
  return mixture;
}

export const normal = (v, mean, std) =>
  Math.exp(-0.5 * ((v - mean) / std) ** 2) / (std * Math.sqrt(2 * Math.PI));

export const mixtureDensity = (v, { means, weights, std }) =>
  means.reduce((sum, m, j) => sum + weights[j] * normal(v, m, std), 0);

// Nats that one message costs: KL(sender || receiver), two Gaussians of the same width (96).
export const cost = (x, guess, alpha) => 0.5 * alpha * (x - guess) ** 2;

// One belief on its way: mu at times 0, 1/m ... 1. The messages add up to beta x plus Brownian
// noise W(beta), and the prior counts as much as one message of accuracy 1 around 0.
export function path(x, sigma1, noise) {
  const m = noise.length;
  const mus = [0];
  let walk = 0;
  let before = 0;
  for (let i = 1; i <= m; i++) {
    const b = beta(i / m, sigma1);
    walk += Math.sqrt(b - before) * noise[i - 1];
    before = b;
    mus.push((b * x + walk) / (1 + b));
  }
  return mus;
}

// ---- The picture -------------------------------------------------------------------------------

const STEPS = 240; // points of the path
const REACH = 1.7; // the values shown: -REACH to REACH

// Everything the picture shows at one setting of the sliders.
export function state(s) {
  const b = beta(s.t, s.sigma_1);
  const mus = path(s.x, s.sigma_1, normals(STEPS, s.seed));
  const place = s.t * STEPS;
  const low = Math.min(Math.floor(place), STEPS - 1);
  const mu = mus[low] + (place - low) * (mus[low + 1] - mus[low]);
  const a = alpha(s.t, s.steps, s.sigma_1);
  const guess = output(mu, b, s);
  return { mus, mu, beta: b, input: { mean: mu, std: 1 / Math.sqrt(1 + b) }, output: guess,
    flow: flow(s.x, s.t, s.sigma_1), alpha: a, width: 1 / Math.sqrt(a),
    nats: cost(s.x, guess.mean, a) };
}

// A panel maps (across, value) to pixels; every panel has the same vertical axis.
function panel(pen, box, title, axis) {
  const y = (value) => box.y + box.h * (0.5 - value / (2 * REACH));
  pen.fillStyle = "#222";
  pen.textAlign = "left";
  pen.font = "600 " + FONT;
  pen.fillText(title, box.x, box.y - 9, box.w); // rather narrower letters than a title cut off
  pen.font = FONT;
  pen.lineWidth = 1;
  for (const value of [-1, -0.5, 0, 0.5, 1]) {
    pen.strokeStyle = value === 0 ? "#d9d9d9" : "#ededed";
    pen.beginPath();
    pen.moveTo(box.x, y(value));
    pen.lineTo(box.x + box.w, y(value));
    pen.stroke();
    if (box.labels) {
      pen.fillStyle = "#555";
      pen.textAlign = "right";
      pen.fillText(number(value, 1), box.x - 7, y(value) + 4);
    }
  }
  pen.textAlign = "center";
  pen.fillStyle = "#555";
  pen.fillText(axis, box.x + (box.w - (box.tail || 0)) / 2, box.y + box.h + (box.tail ? 33 : 16));
  pen.strokeStyle = "#bbb";
  pen.strokeRect(box.x, box.y, 0, box.h);
  return y;
}

// A density that grows to the right from `left`, its peak at `reach` pixels.
function sideways(pen, box, y, density, left, reach, colour,
  { fill = 0.12, thick = 2, strength = 1 } = {}) {
  const rows = Math.round(box.h);
  const value = (row) => REACH * (1 - (2 * row) / rows);
  let peak = 1e-300;
  const heights = [];
  for (let row = 0; row <= rows; row++) {
    heights.push(density(value(row)));
    peak = Math.max(peak, heights[row]);
  }
  const trace = (least) => {
    pen.beginPath();
    let drawing = false;
    heights.forEach((h, row) => {
      const above = h >= least * peak;
      if (above) pen[drawing ? "lineTo" : "moveTo"](left + (reach * h) / peak, y(value(row)));
      drawing = above;
    });
  };
  trace(0);
  pen.lineTo(left, box.y + box.h);
  pen.lineTo(left, box.y);
  pen.globalAlpha = fill;
  pen.fillStyle = colour;
  pen.fill();
  pen.globalAlpha = strength;
  trace(0.002); // no line along the axis, where the density is nothing
  pen.strokeStyle = colour;
  pen.lineWidth = thick;
  pen.stroke();
  pen.globalAlpha = 1;
}

function clipped(pen, box, draw) {
  pen.save();
  pen.beginPath();
  pen.rect(box.x, box.y, box.w, box.h);
  pen.clip();
  draw();
  pen.restore();
}

// Where the belief may be, at every time: nested bands whose shades add up to a Gaussian's.
function ribbon(pen, s, across, y, colour) {
  let before = 0;
  pen.fillStyle = colour;
  for (let z = 2.8; z > 0; z -= 0.175) {
    const shade = 0.75 * Math.exp(-0.5 * z * z);
    pen.globalAlpha = 1 - (1 - shade) / (1 - before);
    before = shade;
    pen.beginPath();
    for (const side of [1, -1]) {
      for (let i = 0; i <= 120; i++) {
        const t = side > 0 ? i / 120 : 1 - i / 120;
        const f = flow(s.x, t, s.sigma_1);
        pen.lineTo(across(t), y(f.mean + side * z * f.std));
      }
    }
    pen.fill();
  }
  pen.globalAlpha = 1;
}

// The ribbon is the dearest part and does not depend on t: it is kept until something else moves.
const kept = { key: "", canvas: null };
function placeRibbon(pen, box, s, across, y, colour) {
  const ratio = pen.getTransform().a;
  const key = [box.x, box.y, box.w, box.h, ratio, s.x, s.sigma_1, colour].join();
  if (kept.key !== key) {
    kept.key = key;
    kept.canvas = document.createElement("canvas");
    kept.canvas.width = Math.ceil(box.w * ratio);
    kept.canvas.height = Math.ceil(box.h * ratio);
    const own = kept.canvas.getContext("2d");
    own.scale(ratio, ratio);
    own.translate(-box.x, -box.y);
    ribbon(own, s, across, y, colour);
  }
  pen.drawImage(kept.canvas, box.x, box.y, kept.canvas.width / ratio, kept.canvas.height / ratio);
}

function drawFlow(pen, box, s, now) {
  const { colours } = s;
  const y = panel(pen, box, "The flow: where Bob\u2019s belief may be", "time t");
  const across = (t) => box.x + t * (box.w - box.tail);
  for (const t of [0, 0.25, 0.5, 0.75, 1]) {
    pen.fillText(String(t), across(t), box.y + box.h + 16);
  }
  clipped(pen, box, () => {
    placeRibbon(pen, box, s, across, y, colours.flow);
    pen.lineJoin = "round";
    for (const [from, to, strength] of [[0, s.t, 1], [s.t, 1, 0.3]]) {
      pen.beginPath();
      now.mus.forEach((mu, i) => {
        const t = i / STEPS;
        if (t >= from && t <= to) pen.lineTo(across(t), y(mu));
      });
      pen.strokeStyle = colours.input;
      pen.globalAlpha = strength;
      pen.lineWidth = 1.5;
      pen.stroke();
    }
    pen.globalAlpha = 1;
    if (s.t > 0) {
      sideways(pen, box, y, (v) => normal(v, now.flow.mean, Math.max(now.flow.std, 0.004)),
        across(s.t), box.tail - 8, colours.flow, { fill: 0.25 });
    }
    pen.strokeStyle = "#222";
    pen.lineWidth = 1;
    pen.beginPath();
    pen.moveTo(across(s.t), box.y);
    pen.lineTo(across(s.t), box.y + box.h);
    pen.stroke();
    // The belief now: its mean, and one standard deviation to either side.
    pen.strokeStyle = pen.fillStyle = colours.input;
    pen.lineWidth = 3;
    pen.beginPath();
    pen.moveTo(across(s.t), y(now.mu - now.input.std));
    pen.lineTo(across(s.t), y(now.mu + now.input.std));
    pen.stroke();
    pen.beginPath();
    pen.arc(across(s.t), y(now.mu), 5.5, 0, 2 * Math.PI);
    pen.fill();
  });
}

function drawBelief(pen, box, s, now) {
  const { colours } = s;
  const y = panel(pen, box, "Bob\u2019s belief now", "density, same peak");
  clipped(pen, box, () => {
    const add = (density, colour, look) =>
      sideways(pen, box, y, density, box.x, box.w * 0.94, colour, look);
    add((v) => mixtureDensity(v, s), colours.data, { fill: 0.08, strength: 0.35 });
    add((v) => normal(v, now.mu, now.input.std), colours.input);
    add((v) => mixtureDensity(v, now.output), colours.output);
    pen.fillStyle = colours.output; // the one value that the network names
    pen.strokeStyle = "white";
    pen.lineWidth = 1.5;
    pen.beginPath();
    pen.arc(box.x + 7, y(now.output.mean), 6, 0, 2 * Math.PI);
    pen.fill();
    pen.stroke();
  });
}

function drawMessage(pen, box, s, now) {
  const { colours } = s;
  const y = panel(pen, box, s.t > 1 - 1 / s.steps ? "The last message" : "The next message",
    "density, same peak");
  clipped(pen, box, () => {
    // The receiver's line is the thicker one, so that it shows where the two lie together.
    const curves = [["receiver", now.output.mean, 5], ["sender", s.x, 2]];
    for (const [name, centre, thick] of curves) {
      sideways(pen, box, y, (v) => normal(v, centre, now.width), box.x, box.w * 0.94,
        colours[name], { thick });
    }
    for (const [name, centre, thick] of curves) {
      pen.fillStyle = colours[name];
      pen.beginPath();
      pen.arc(box.x + box.w * 0.94, y(centre), 2.5 + thick, 0, 2 * Math.PI);
      pen.fill();
    }
  });
}

function drawTruth(pen, boxes, x, colours) {
  pen.setLineDash([5, 4]);
  pen.strokeStyle = colours.data;
  pen.lineWidth = 1;
  for (const box of boxes) {
    const y = box.y + box.h * (0.5 - x / (2 * REACH));
    pen.beginPath();
    pen.moveTo(box.x, y);
    pen.lineTo(box.x + box.w, y);
    pen.stroke();
  }
  pen.setLineDash([]);
}

// The three panels side by side, or, where there is less room, the flow above the other two.
function layout(width) {
  const left = 36;
  const narrow = width < 640;
  const top = { x: left, y: 26, h: narrow ? 210 : 300, tail: narrow ? 44 : 64, labels: true };
  const room = width - left - 4;
  top.w = narrow ? room : Math.round(room * 0.54);
  const y = narrow ? top.y + top.h + 74 : top.y;
  const begin = narrow ? left : left + top.w + 26;
  const each = (left + room - begin - 26) / 2;
  const belief = { x: begin, y, w: each, h: narrow ? 210 : 300, labels: narrow };
  const message = { ...belief, x: begin + each + 26, labels: false };
  return { boxes: [top, belief, message], height: y + belief.h + 40 };
}

// The legend: a colour, a name, its numbers now, and what it is.
function words(s, now) {
  const plusMinus = (mean, std) => `${number(mean)} \u00b1 ${number(std, std < 0.1 ? 3 : 2)}`;
  return [
    ["flow", "flow p<sub>F</sub>", plusMinus(now.flow.mean, now.flow.std), "where \u03bc may be"],
    ["input", "input p<sub>I</sub>", plusMinus(now.mu, now.input.std), "what Bob believes"],
    ["output", "output p<sub>O</sub>", `x\u0302 = ${number(now.output.mean)}`,
      "dot: the guess, mean of the green curve"],
    ["sender", "sender p<sub>S</sub>", plusMinus(s.x, now.width), "Alice\u2019s message"],
    ["receiver", "receiver p<sub>R</sub>", plusMinus(now.output.mean, now.width),
      "what Bob expects"],
    ["data", "data", `x = ${number(s.x)}`, "dashed: the true x"],
  ];
}

function sentence(s, now) {
  return `At time ${number(s.t)} of the flow towards x = ${number(s.x)}: the belief's mean is ` +
    `spread around ${number(now.flow.mean)} with standard deviation ${number(now.flow.std)}. ` +
    `Bob believes ${number(now.mu)}, give or take ${number(now.input.std)}; the network guesses ` +
    `${number(now.output.mean)}; this message costs ${number(now.nats, 3)} nats.`;
}

const SLIDERS = [
  { name: "t", label: "time t", min: 0, max: 1, step: 0.01, digits: 2 },
  { name: "x", label: "true value x", min: -1, max: 1, step: 0.01, digits: 2 },
  { name: "sigma_1", label: "final noise \u03c3\u2081", min: -2, max: -0.3, step: 0.01, digits: 3,
    to: (v) => 10 ** v, from: Math.log10 },
  { name: "steps", label: "messages n", min: 1, max: 100, step: 1, digits: 0 },
];

function render({ model, el }) {
  function draw(pen, width, s) {
    const now = state(s);
    const { boxes } = layout(width);
    drawFlow(pen, boxes[0], s, now);
    drawBelief(pen, boxes[1], s, now);
    drawMessage(pen, boxes[2], s, now);
    drawTruth(pen, boxes, s.x, s.colours);
    showWords(words(s, now));
    note.innerHTML = `This message costs \u03b1/2 \u00b7 (x \u2212 x\u0302)\u00b2 = <b>${
      number(now.nats, 3)} nats</b>. Curves are drawn to the same peak: compare where they are ` +
      "and how wide, not how high. Drag inside the left panel to move through time.";
    pen.canvas.setAttribute("aria-label", sentence(s, now));
  }

  const { root, canvas, s, change, settled, stop, close } =
    stage({ model, el, controls: SLIDERS, layout, draw });
  canvas.style.cursor = "ew-resize";
  const showWords = addWords(root, s.colours);
  const note = element("div", root, { className: "note" });

  canvas.addEventListener("pointerdown", dragged);
  canvas.addEventListener("pointermove", dragged);
  canvas.addEventListener("pointerup", settled);
  function dragged(event) {
    if (event.buttons !== 1) return;
    const area = canvas.getBoundingClientRect();
    const [box] = layout(area.width).boxes;
    const t = (event.clientX - area.left - box.x) / (box.w - box.tail);
    const outside = event.clientX - area.left > box.x + box.w;
    if (event.type === "pointerdown") {
      if (outside || event.clientY - area.top > box.y + box.h + 30) return;
      canvas.setPointerCapture(event.pointerId);
    } else if (!canvas.hasPointerCapture(event.pointerId)) {
      return;
    }
    stop();
    change("t", Math.round(100 * Math.min(1, Math.max(0, t))) / 100);
  }
  return close;
}

export default { render };
