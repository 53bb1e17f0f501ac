// Where the reader draws: a pad, the belief, the guess, the bill, and the controls. The numbers come
// from worker.js. Nothing is loaded before the button is pressed, see loading.js, and until all is
// there, or where it cannot be, a picture stands in its place.

import { CAPTION, CHOICES, MOVING, Played } from "./played.js";

const EDGE = 28;
const SIZE = EDGE * EDGE;
const GIVEN = { 1: [255, 140, 56], 0: [74, 40, 18] }; // the reader's ink and paper
const PENS = { ink: 1.1, paper: 1.9, rub: 1.9 }; // name, radius in pixels
const QUICK = 15; // network calls a second from which on a picture is completed while one draws
const LONGEST = 0.35; // seconds that such a picture may take

const PADS = `
<div class="draw-board">
  <div class="draw-left">
    <fieldset class="draw-pens"><legend>Pen</legend>
      <label><input type="radio" name="pen" value="ink" checked><span>ink</span></label>
      <label><input type="radio" name="pen" value="paper"><span>paper</span></label>
      <label><input type="radio" name="pen" value="rub"><span>rub out</span></label>
    </fieldset>
    <div class="draw-pad"><canvas width="28" height="28" tabindex="0" role="application"
      aria-label="Drawing pad, 28 by 28 pixels. Arrow keys move, space draws."></canvas><i hidden></i>
    </div>
    <div class="draw-buttons">
      <button type="button" data-do="undo">undo</button>
      <button type="button" data-do="clear">clear</button>
      <button type="button" data-do="keep">keep this digit</button>
    </div>
  </div>
  <div class="draw-right">
    <div class="draw-panels">
      <figure><figcaption data-of="belief">belief</figcaption>
        <canvas width="28" height="28" role="img"></canvas></figure>
      <figure><figcaption data-of="guess">guess</figcaption>
        <canvas width="28" height="28" role="img"></canvas></figure>
    </div>
    <div class="draw-bill"><p><b>Price of a message</b>, nats:
      <span data-of="given">your pixels</span> <span data-of="own">the rest</span></p>
      <canvas role="img"></canvas></div>
    <div class="draw-candidates" role="group" aria-label="Candidates" hidden></div>
  </div>
</div>${MOVING}
<fieldset class="draw-digits"><legend>Draw</legend></fieldset>
<div class="draw-choices">${CHOICES}
  <label class="draw-weight"><span>the digit's name counts</span><select name="weight">
    <option value="1">once, as learnt</option><option value="2" selected>twice: clearer</option>
  </select></label>
  <button type="button" data-do="another">another draw</button>
</div>${CAPTION}`;

// Puts a picture of 28 × 28 into a canvas; `colour(j)` is [r, g, b] or a grey.
function paint(canvas, colour) {
  const pen = canvas.getContext("2d");
  const image = pen.createImageData(EDGE, EDGE);
  for (let j = 0; j < SIZE; j++) {
    const value = colour(j);
    const [r, g, b] = typeof value === "number" ? [value, value, value] : value;
    image.data.set([r, g, b, 255], 4 * j);
  }
  pen.putImageData(image, 0, 0);
}

const grey = (probability) => Math.round(22 + (probability * 233) / 255);

export class Board extends Played {
  constructor(place, worker) {
    super(place, worker, PADS, ["weight", "label"]);
    this.x = new Uint8Array(SIZE);
    this.known = new Uint8Array(SIZE);
    this.past = []; // what undo goes back to
    this.at = { x: EDGE / 2, y: EDGE / 2 }; // the pen, for the keyboard
    const find = (where) => this.form.querySelector(where);
    [this.pad, this.cursor] = [find(".draw-pad canvas"), find(".draw-pad i")];
    [this.beliefs, this.guesses] = this.form.querySelectorAll(".draw-panels canvas");
    this.options("n", [5, 10, 20, 30, 50, 100], 30);
    this.options("count", [1, 4, 8], 4);
    const labels = Number(place.dataset.labels);
    const chips = ["any digit", ...Array(labels).keys()].map((name, k) =>
      `<label><input type="radio" name="label" value="${k - 1}"${k ? "" : " checked"}>
      <span>${name}</span></label>`);
    find(".draw-digits").insertAdjacentHTML("beforeend", chips.join(""));
    find(".draw-digits").hidden = find(".draw-weight").hidden = labels === 0;
    this.listen();
    this.run();
  }

  listen() {
    for (const name of ["undo", "clear", "keep"]) {
      this.button(name).addEventListener("click", () => this[name]());
    }
    this.pad.addEventListener("pointerdown", (event) => this.down(event));
    this.pad.addEventListener("pointermove", (event) => this.move(event));
    for (const end of ["pointerup", "pointercancel"]) {
      this.pad.addEventListener(end, () => this.up());
    }
    this.pad.addEventListener("keydown", (event) => this.key(event));
    this.pad.addEventListener("blur", () => { this.cursor.hidden = true; });
  }

  asked() {
    return { x: [...this.x], known: this.known, label: this.setting("label"),
      weight: this.setting("weight") };
  }

  // ---- The pen ----

  down(event) {
    if (event.button) return;
    event.preventDefault();
    this.pad.setPointerCapture(event.pointerId);
    this.pad.focus({ preventScroll: true });
    this.remember();
    this.drawing = true;
    this.from = null;
    this.stroke(event);
  }

  move(event) {
    if (!this.drawing) return;
    const all = event.getCoalescedEvents?.() ?? [];
    for (const one of all.length ? all : [event]) this.stroke(one, false);
    this.changed();
  }

  up() {
    if (!this.drawing) return;
    this.drawing = false;
    this.run();
  }

  stroke(event, tell = true) {
    const area = this.pad.getBoundingClientRect();
    const to = { x: (EDGE * (event.clientX - area.left)) / area.width,
      y: (EDGE * (event.clientY - area.top)) / area.height };
    const from = this.from ?? to;
    const steps = Math.ceil(2 * Math.hypot(to.x - from.x, to.y - from.y)) || 1;
    for (let k = 1; k <= steps; k++) {
      this.dab(from.x + ((to.x - from.x) * k) / steps, from.y + ((to.y - from.y) * k) / steps);
    }
    this.from = this.at = to;
    if (tell) this.changed();
  }

  // All pixels whose centres the pen covers.
  dab(x, y) {
    const pen = this.form.elements.pen.value;
    const radius = PENS[pen];
    for (let row = Math.floor(y - radius); row <= y + radius; row++) {
      for (let column = Math.floor(x - radius); column <= x + radius; column++) {
        const out = row < 0 || row >= EDGE || column < 0 || column >= EDGE;
        if (out || Math.hypot(column + 0.5 - x, row + 0.5 - y) > radius) continue;
        this.known[row * EDGE + column] = Number(pen !== "rub");
        this.x[row * EDGE + column] = Number(pen === "ink");
      }
    }
  }

  changed() {
    // The solver, since it makes more of few calls.
    if (this.rate >= QUICK) {
      this.run({ whole: Math.max(6, Math.min(18, Math.round(this.rate * LONGEST))) });
    }
    this.draw();
  }

  key(event) {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const [dx, dy] = way[event.key] ?? [0, 0];
    const draws = event.key === " " || event.key === "Enter";
    if (!dx && !dy && !draws) return;
    event.preventDefault();
    const within = (v) => Math.max(0.5, Math.min(EDGE - 0.5, Math.floor(v) + 0.5));
    this.at = { x: within(this.at.x + dx), y: within(this.at.y + dy) };
    if (draws || event.shiftKey) {
      this.remember();
      this.dab(this.at.x, this.at.y);
      this.run();
    }
    this.cursor.hidden = false;
    this.cursor.style.left = `${(100 * Math.floor(this.at.x)) / EDGE}%`;
    this.cursor.style.top = `${(100 * Math.floor(this.at.y)) / EDGE}%`;
  }

  remember() {
    this.past.push([this.x.slice(), this.known.slice()]);
  }

  undo() {
    if (!this.past.length) return;
    [this.x, this.known] = this.past.pop();
    this.run();
  }

  clear() {
    this.remember();
    this.known.fill(0);
    this.form.elements.pen.value = "ink";
    this.run();
  }

  // What is guessed becomes what is known, so that there is something to rub out.
  keep() {
    this.remember();
    const { guess, c } = this.now();
    const from = c * SIZE;
    for (let j = 0; j < SIZE; j++) {
      if (!this.known[j]) this.x[j] = Number(guess[from + j] > 127);
    }
    this.known.fill(1);
    this.form.elements.pen.value = "rub";
    this.run();
  }

  draw() {
    if (!this.steps.length) return;
    const { i, n, belief, guess, c, quick, last } = this.now();
    const from = c * SIZE;
    paint(this.pad, (j) => (this.known[j] ? GIVEN[this.x[j]] : grey(guess[from + j])));
    paint(this.beliefs, (j) => grey(belief[from + j]));
    paint(this.guesses, (j) => grey(guess[from + j]));
    this.beliefs.setAttribute("aria-label", `What the messages alone say, after ${i} of ${n}`);
    this.guesses.setAttribute("aria-label", `The network's guess after ${i} of ${n} messages`);
    this.button("undo").disabled = !this.past.length;
    this.drawCandidates('<canvas width="28" height="28"></canvas>', (canvas, k, state) =>
      paint(canvas, (j) =>
        (this.known[j] ? GIVEN[this.x[j]] : grey(state.guess[k * SIZE + j]))));
    const [given, own] = this.paid();
    const sums = this.known.includes(1) ? [`${given.toFixed(1)} nats for your pixels`] : [];
    sums.push(`${own.toFixed(1)} nats for ${sums.length ? "the rest" : "the picture"}`);
    const told = i ? `After ${i} of ${n} messages: <b>${sums.join(", ")}</b>.` :
      "No message yet: every pixel is as likely ink as paper.";
    const end = i === n && last[c] > 0.05 ?
      ` What is still unsure of your pixels costs ${last[c].toFixed(1)} more.` : "";
    const solver = `After ${i} of ${n} steps of the solver. It follows an equation of motion and `
      + "sends no messages, so there is no price.";
    this.drawCommon(1, sums, quick ? solver : told + end);
  }
}
