// A canvas of pixels that the reader inks, whitens or leaves open with mouse, finger or keys, and
// the pictures with which the kernel completes it. What stands on it is a string of one character a
// pixel, row after row: "1" ink, "0" paper, "." open.

import { element, keepKeys } from "./stage.js";

const LOOK = `
.bfn-canvas {background: #fff; color: #222; border-radius: 8px; padding: 12px 14px; box-sizing:
  border-box; max-width: 940px; font: 13px/1.4 system-ui, -apple-system, "Segoe UI", Roboto,
  "DejaVu Sans", sans-serif; font-variant-numeric: tabular-nums}
.bfn-canvas .board {display: flex; flex-wrap: wrap; gap: 14px 22px; align-items: flex-start}
.bfn-canvas canvas {display: block; image-rendering: pixelated; border-radius: 4px}
.bfn-canvas .pad {width: 280px; height: 280px; touch-action: none; cursor: crosshair}
.bfn-canvas .pad:focus-visible {outline: 3px solid #56B4E9; outline-offset: 2px}
.bfn-canvas .row {display: flex; flex-wrap: wrap; gap: 6px; align-items: center; margin: 0 0 8px}
.bfn-canvas button, .bfn-canvas select {font: inherit; color: inherit; background: #f3f3f3;
  border: 1px solid #c4c4c4; border-radius: 6px; padding: 5px 11px; min-height: 32px;
  cursor: pointer}
.bfn-canvas button:hover {background: #e8e8e8}
.bfn-canvas button[aria-pressed=true] {background: var(--accent); color: #fff}
.bfn-canvas .found {flex: 1 1 300px; min-width: 0}
.bfn-canvas .pictures {display: grid; grid-template-columns: repeat(auto-fill, 112px); gap: 8px}
.bfn-canvas figure {margin: 0}
.bfn-canvas figure canvas {width: 112px; height: 112px}
.bfn-canvas figcaption {font-size: 12px; color: #555}
.bfn-canvas .note {color: #555; margin: 8px 0 0; min-height: 2.8em}`;

const PENS = { ink: ["1", 1.1], paper: ["0", 1.9], "rub out": [".", 1.9] }; // radius in pixels
const GIVEN = { 1: [255, 140, 56], 0: [74, 40, 18] }; // the reader's ink and paper
const OPEN = [110, 110, 110];
const FRAME = { 1: "#ffffff", 0: "#56B4E9", ".": "#f0e442" }; // of the pixel under the pen

// The pixels of row-major `marks` whose centres a round pen at (x, y) covers, set to `mark`.
export function dabbed(marks, edge, x, y, radius, mark) {
  const pixels = [...marks];
  for (let row = Math.floor(y - radius); row <= y + radius; row++) {
    for (let column = Math.floor(x - radius); column <= x + radius; column++) {
      const out = row < 0 || row >= edge || column < 0 || column >= edge;
      if (out || Math.hypot(column + 0.5 - x, row + 0.5 - y) > radius) continue;
      pixels[row * edge + column] = mark;
    }
  }
  return pixels.join("");
}

// Dabs along a line, at most half a pixel apart.
export function stroked(marks, edge, from, to, radius, mark) {
  const steps = Math.ceil(2 * Math.hypot(to[0] - from[0], to[1] - from[1])) || 1;
  for (let k = 1; k <= steps; k++) {
    const [x, y] = [0, 1].map((d) => from[d] + ((to[d] - from[d]) * k) / steps);
    marks = dabbed(marks, edge, x, y, radius, mark);
  }
  return marks;
}

// Shades 0 to 255 from two hexadecimal digits each.
export const shades = (hex) =>
  Array.from({ length: hex.length / 2 }, (_, j) => parseInt(hex.slice(2 * j, 2 * j + 2), 16));

// A digit of which only the upper half stands.
export const upperHalf = (marks) =>
  marks.slice(0, marks.length / 2) + ".".repeat(marks.length / 2);

function paint(canvas, edge, colour) {
  const size = canvas.width / edge;
  const pen = canvas.getContext("2d");
  for (let j = 0; j < edge * edge; j++) {
    const value = colour(j);
    const [r, g, b] = typeof value === "number" ? [value, value, value] : value;
    pen.fillStyle = `rgb(${r} ${g} ${b})`;
    pen.fillRect((j % edge) * size, Math.floor(j / edge) * size, size, size);
  }
  return [pen, size];
}

function render({ model, el }) {
  const { edge, digits, choices, accent, whole, asks, do: does } = model.get("settings");
  const s = { ...model.get("state") };
  let pen = "ink";
  let at = [edge / 2, edge / 2];
  let from = null; // where the line that is being drawn has come to
  let asked = 0; // what the kernel has been asked, and what it has answered
  let waiting = false; // to ask it again, once it has

  const root = element("div", el, { className: "bfn-canvas" });
  root.style.setProperty("--accent", accent);
  element("style", root, { textContent: LOOK });
  const board = element("div", root, { className: "board" });
  const left = element("div", board);
  const pens = element("div", left, { className: "row" });
  pens.setAttribute("role", "group");
  pens.setAttribute("aria-label", "pen");
  const pad = element("canvas", left, { className: "pad", width: 10 * edge, height: 10 * edge,
    tabIndex: 0 });
  pad.setAttribute("role", "application");
  const right = element("div", board, { className: "found" });
  const row = element("div", right, { className: "row" });
  const pictures = element("div", right, { className: "pictures" });
  const note = element("p", right, { className: "note" });
  note.setAttribute("role", "status");

  function button(parent, text, act) {
    const made = element("button", parent, { type: "button", textContent: text });
    keepKeys(made);
    made.addEventListener("click", act);
    return made;
  }
  const blank = whole ? "0" : ".";
  const names = Object.keys(PENS).filter((name) => !whole || PENS[name][0] !== ".");
  const penButtons = names.map((name) => button(pens, name, () => {
    pen = name;
    show();
  }));
  const list = element("select", row);
  list.setAttribute("aria-label", asks);
  choices.forEach(([text, value]) => element("option", list, { textContent: text, value }));
  keepKeys(list);
  list.addEventListener("change", () => ask({ label: Number(list.value) }));
  button(row, does, () => ask({ seed: s.seed + 1 }));
  button(row, "clear", () => ask({ marks: blank.repeat(edge * edge) }));
  button(row, "another digit", () => {
    const digit = (s.digit + 1) % digits.length;
    ask({ digit, marks: whole ? digits[digit] : upperHalf(digits[digit]) });
  });

  // Asks the kernel once it has answered what it was asked before.
  function ask(changes) {
    Object.assign(s, changes);
    show();
    if (asked > model.get("answer").to) {
      waiting = true;
      return;
    }
    waiting = false;
    asked += 1;
    model.set("state", { ...s, asked });
    model.save_changes();
  }

  function place(event) {
    const area = pad.getBoundingClientRect();
    return [(edge * (event.clientX - area.left)) / area.width,
      (edge * (event.clientY - area.top)) / area.height];
  }
  function draw(to) {
    const [mark, radius] = PENS[pen];
    s.marks = stroked(s.marks, edge, from ?? to, to, radius, mark);
    from = at = to;
    show();
  }
  pad.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    event.preventDefault();
    pad.setPointerCapture(event.pointerId);
    pad.focus({ preventScroll: true });
    draw(place(event));
  });
  pad.addEventListener("pointermove", (event) => {
    if (!from) return;
    const all = event.getCoalescedEvents?.() ?? [];
    (all.length ? all : [event]).forEach((one) => draw(place(one)));
  });
  for (const end of ["pointerup", "pointercancel"]) {
    pad.addEventListener(end, () => {
      if (!from) return;
      from = null;
      ask({});
    });
  }
  keepKeys(pad);
  pad.addEventListener("keydown", (event) => {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const step = way[event.key] ?? [0, 0];
    const draws = event.key === " " || event.key === "Enter";
    if (!step[0] && !step[1] && !draws) return;
    event.preventDefault();
    at = at.map((v, d) => Math.max(0.5, Math.min(edge - 0.5, Math.floor(v + step[d]) + 0.5)));
    if (draws || event.shiftKey) {
      draw(at);
      from = null;
      ask({});
    } else show();
  });

  // The best candidate stands behind what is open on the pad.
  function show() {
    const { shades: found, titles, words } = model.get("answer");
    const best = found.length ? shades(found[0]) : null;
    const [context, size] = paint(pad, edge, (j) => {
      if (s.marks[j] !== ".") return GIVEN[s.marks[j]];
      return best ? Math.round(22 + (best[j] * 233) / 255) : OPEN;
    });
    context.strokeStyle = FRAME[PENS[pen][0]];
    context.lineWidth = 2;
    context.strokeRect(Math.floor(at[0]) * size, Math.floor(at[1]) * size, size, size);
    const given = s.marks.replaceAll(".", "").length;
    pad.setAttribute("aria-label", `Canvas of ${edge} by ${edge} pixels, ${given} given; the pen `
      + `(${pen}) is in row ${Math.floor(at[1]) + 1}, column ${Math.floor(at[0]) + 1}. Arrow keys `
      + "move it, space draws.");
    penButtons.forEach((made) => {
      made.setAttribute("aria-pressed", made.textContent === pen);
      made.classList.toggle("mod-active", made.textContent === pen);
    });
    list.value = s.label;
    while (pictures.children.length > found.length) pictures.lastChild.remove();
    while (pictures.children.length < found.length) {
      const figure = element("figure", pictures);
      element("canvas", figure, { width: 4 * edge, height: 4 * edge }).setAttribute("role", "img");
      element("figcaption", figure);
    }
    found.forEach((hex, k) => {
      const [canvas, caption] = pictures.children[k].children;
      const values = shades(hex);
      const open = (j) => whole || s.marks[j] === ".";
      paint(canvas, edge, (j) => (open(j) ? values[j] : GIVEN[s.marks[j]]));
      caption.textContent = titles[k];
      canvas.setAttribute("aria-label", `${whole ? "picture" : "candidate"} ${k + 1}, ${titles[k]}`);
    });
    note.textContent = words;
  }
  model.on("change:answer", () => {
    show();
    root.dataset.answered = model.get("answer").to;
    if (waiting) ask({});
  });
  model.on("change:state", () => {
    const state = model.get("state");
    if (state.asked <= asked) return; // our own
    asked = state.asked;
    Object.assign(s, state);
    show();
  });
  asked = model.get("state").asked;
  show();
}

export default { render };
