// Where the reader draws: a pad, the belief, the guess, the bill, and the controls. The numbers come
// from worker.js. Nothing is loaded before the button is pressed, and until all is there, or where
// it cannot be, the picture stands in its place.

const EDGE = 28;
const SIZE = EDGE * EDGE;
const COLOURS = { // of bfn_core/views/kit/style.py
  belief: "#0072B2", given: "#D55E00", guess: "#009E73", own: "#AA4499" };
const GIVEN = { 1: [255, 140, 56], 0: [74, 40, 18] }; // the reader's ink and paper
const PENS = { ink: 1.1, paper: 1.9, rub: 1.9 }; // name, radius in pixels
const QUICK = 15; // network calls a second from which on a picture is completed while one draws
const LONGEST = 0.35; // seconds that such a picture may take

const CONTROLS = `
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
</div>
<div class="draw-time">
  <button type="button" data-do="play">▶ play</button>
  <button type="button" data-do="back" aria-label="one message back">‹</button>
  <button type="button" data-do="on" aria-label="one message on">›</button>
  <label><span>messages heard <output></output></span>
    <input type="range" name="at" min="0" value="0" autocomplete="off"></label>
</div>
<fieldset class="draw-digits"><legend>Draw</legend></fieldset>
<div class="draw-choices">
  <label><span>messages in all</span><select name="n"></select></label>
  <label><span>candidates for a gap</span><select name="count"></select></label>
  <label><span>the digit's name counts</span><select name="weight">
    <option value="1">once, as learnt</option><option value="2" selected>twice: clearer</option>
  </select></label>
  <button type="button" data-do="another">another draw</button>
</div>
<p class="draw-caption"></p><p class="visually-hidden" aria-live="polite"></p>`;

const megabytes = (count) => (count / 1e6).toFixed(1);

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

// The button and, once it was pressed, the megabytes on their way.
function invite(place) {
  const form = document.createElement("p");
  form.className = "draw-invite";
  const button = Object.assign(document.createElement("button"),
    { type: "button", textContent: "▶ Draw digits here" });
  const words = Object.assign(document.createElement("span"), {
    textContent: `loads ${megabytes(place.dataset.bytes)} MB, once; what you draw stays with you` });
  words.setAttribute("role", "status");
  form.append(button, words);
  place.prepend(form);
  button.addEventListener("click", () => start(place, form, button, words));
}

function start(place, form, button, words) {
  const total = Number(place.dataset.bytes);
  const bar = Object.assign(document.createElement("progress"), { max: total, value: 0 });
  bar.setAttribute("aria-label", "loading");
  button.disabled = true;
  form.append(bar);
  let worker;
  const failed = (error) => {
    worker?.terminate();
    bar.remove();
    button.disabled = false;
    button.textContent = "↻ Try again";
    words.setAttribute("role", "alert");
    words.textContent = `This browser could not start it: ${error} The picture shows what it does.`;
    place.classList.remove("draw-begun");
    place.querySelector(".draw-live")?.remove();
    form.hidden = false;
  };
  if (typeof WebAssembly !== "object" || typeof DecompressionStream !== "function") {
    return failed("it lacks WebAssembly or DecompressionStream, which browsers have since 2023.");
  }
  try {
    worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  } catch (error) {
    return failed(`${error.message}.`);
  }
  worker.onerror = (event) => failed(`${event.message ?? "a file did not arrive"}.`);
  let board;
  worker.onmessage = ({ data }) => {
    if (data.kind === "bytes") {
      bar.value += data.count;
      words.textContent = bar.value < total ?
        `${megabytes(bar.value)} of ${megabytes(total)} MB` : "starting the network …";
    } else if (data.kind === "ready") {
      form.hidden = true;
      bar.remove();
      board = place.board = new Board(place, worker);
    } else if (data.kind === "error") {
      failed(`${data.words}.`);
    } else {
      board.arrived(data);
    }
  };
  return worker.postMessage({ kind: "open" });
}

class Board {
  constructor(place, worker) {
    Object.assign(this, { place, worker, beta1: Number(place.dataset.beta1) });
    this.x = new Uint8Array(SIZE);
    this.known = new Uint8Array(SIZE);
    this.past = []; // what undo goes back to
    this.seed = 1;
    this.task = 0;
    this.steps = []; // the states of the task that is shown
    this.chosen = null; // a candidate, or null for the heaviest
    this.rate = 0; // network calls a second
    this.still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.build();
    this.listen();
    this.run();
  }

  // ---- The parts ----

  build() {
    const root = document.createElement("form");
    root.className = "draw-live";
    root.autocomplete = "off";
    root.innerHTML = CONTROLS;
    root.addEventListener("submit", (event) => event.preventDefault());
    this.place.append(root);
    this.place.classList.add("draw-begun");
    const find = (where) => root.querySelector(where);
    [this.pad, this.cursor] = [find(".draw-pad canvas"), find(".draw-pad i")];
    [this.beliefs, this.guesses] = root.querySelectorAll(".draw-panels canvas");
    [this.bill, this.row] = [find(".draw-bill canvas"), find(".draw-candidates")];
    [this.slider, this.reads] = [root.elements.at, find("output")];
    [this.caption, this.spoken] = root.querySelectorAll(".draw-caption, [aria-live]");
    this.form = root;
    const chips = ["any digit", ...Array(10).keys()].map((name, k) =>
      `<label><input type="radio" name="label" value="${k - 1}"${k ? "" : " checked"}>
      <span>${name}</span></label>`);
    find(".draw-digits").insertAdjacentHTML("beforeend", chips.join(""));
    const options = (name, values, start) => root.elements[name].append(
      ...values.map((v) => new Option(v, v, v === start, v === start)));
    options("n", [5, 10, 20, 30, 50, 100], 30);
    options("count", [1, 4, 8], 4);
    for (const words of root.querySelectorAll("[data-of]")) {
      words.style.setProperty("--colour", COLOURS[words.dataset.of]);
    }
    this.at = { x: EDGE / 2, y: EDGE / 2 }; // the pen, for the keyboard
  }

  listen() {
    for (const button of this.form.querySelectorAll("[data-do]")) {
      button.addEventListener("click", () => this[button.dataset.do]());
    }
    this.slider.addEventListener("input", () => {
      this.stop();
      this.show(Number(this.slider.value));
    });
    this.form.addEventListener("change", ({ target }) => {
      if (["n", "count", "weight", "label"].includes(target.name)) this.run();
    });
    this.pad.addEventListener("pointerdown", (event) => this.down(event));
    this.pad.addEventListener("pointermove", (event) => this.move(event));
    for (const end of ["pointerup", "pointercancel"]) {
      this.pad.addEventListener(end, () => this.up());
    }
    this.pad.addEventListener("keydown", (event) => this.key(event));
    this.pad.addEventListener("blur", () => { this.cursor.hidden = true; });
    new ResizeObserver(() => this.draw()).observe(this.bill);
  }

  // ---- Tasks for the worker ----

  setting(name) {
    return Number(this.form.elements[name].value);
  }

  // Begins anew; while a line is being drawn in one quick candidate with few messages. Where nothing
  // is known, or everything, candidates need not be compared.
  run({ whole = false } = {}) {
    const quick = Math.max(6, Math.min(20, Math.round(this.rate * LONGEST)));
    const gap = this.known.includes(1) && this.known.includes(0);
    const [n, count] = whole ? [quick, 1] : [this.setting("n"), gap ? this.setting("count") : 1];
    this.task += 1;
    this.worker.postMessage({ kind: "run", id: this.task, whole, n, count, beta1: this.beta1,
      x: [...this.x], known: [...this.known], seed: this.seed, label: this.setting("label"),
      weight: this.setting("weight") });
    if (!whole) {
      this.first = this.task; // what came before it is no longer wanted
      this.place.dataset.done = "no";
    }
    this.draw();
  }

  arrived(state) {
    const rate = (1000 * state.calls) / Math.max(state.ms, 0.1);
    this.rate = this.rate ? 0.9 * this.rate + 0.1 * rate : rate;
    if (state.task < this.first) return;
    if (state.i === 0) this.coming = [];
    this.coming.push(state);
    const line = state.task > this.first; // one of those made while a line is drawn
    if (line) {
      if (state.i < state.n) return;
      this.begin(state.n);
      this.show(state.n);
      return;
    }
    if (state.i === 0) {
      this.begin(state.n);
      if (this.still) this.show(0);
      else this.go(1000 / 45);
    }
    if (this.still) this.show(state.i);
    if (state.i === state.n) this.place.dataset.done = "yes";
  }

  begin(n) {
    this.stop();
    this.steps = this.coming;
    this.chosen = null;
    this.slider.max = n;
    this.show(0);
  }

  // ---- In time ----

  go(pace) {
    this.stop();
    let before = performance.now();
    const tick = (now) => {
      this.ticking = requestAnimationFrame(tick);
      if (now - before < pace || this.i + 1 >= this.steps.length) return;
      before = now;
      this.show(this.i + 1);
      if (this.i === Number(this.slider.max)) this.stop();
    };
    this.ticking = requestAnimationFrame(tick);
    this.button("play").textContent = "■ stop";
  }

  stop() {
    cancelAnimationFrame(this.ticking);
    this.ticking = null;
    this.button("play").textContent = "▶ play";
    this.say();
  }

  button(name) {
    return this.form.querySelector(`[data-do=${name}]`);
  }

  play() {
    if (this.ticking) return this.stop();
    if (this.i === Number(this.slider.max)) this.show(0);
    return this.go(Math.max(40, 5000 / Number(this.slider.max)));
  }

  back() {
    this.stop();
    this.show(this.i - 1);
  }

  on() {
    this.stop();
    this.show(this.i + 1);
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
    if (this.rate >= QUICK) this.run({ whole: true });
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
    const { guess, from } = this.now();
    for (let j = 0; j < SIZE; j++) {
      if (!this.known[j]) this.x[j] = Number(guess[from + j] > 127);
    }
    this.known.fill(1);
    this.form.elements.pen.value = "rub";
    this.run();
  }

  another() {
    this.seed += 1;
    this.run();
  }

  // ---- The pictures ----

  // The state that is shown, and where in it the candidate lies whose past it is.
  now() {
    const path = this.path();
    const state = this.steps[this.i];
    return { ...state, c: path[this.i], from: path[this.i] * SIZE };
  }

  // Which candidate leads, message by message, to the one that is shown at the end.
  path() {
    const last = this.steps.at(-1);
    let c = this.chosen ?? last.logWeights.indexOf(Math.max(...last.logWeights));
    const path = [];
    for (let i = this.steps.length - 1; i >= 0; i--) {
      path[i] = c;
      c = this.steps[i].parents[c];
    }
    return path;
  }

  show(i) {
    this.i = Math.max(0, Math.min(i, this.steps.length - 1));
    this.slider.value = this.i;
    this.draw();
  }

  draw() {
    if (!this.steps.length) return;
    const { i, n, belief, guess, from } = this.now();
    paint(this.pad, (j) => (this.known[j] ? GIVEN[this.x[j]] : grey(guess[from + j])));
    paint(this.beliefs, (j) => grey(belief[from + j]));
    paint(this.guesses, (j) => grey(guess[from + j]));
    this.beliefs.setAttribute("aria-label", `What the messages alone say, after ${i} of ${n}`);
    this.guesses.setAttribute("aria-label", `The network's guess after ${i} of ${n} messages`);
    this.reads.textContent = `${i} of ${n}`;
    this.slider.setAttribute("aria-valuetext", `${i} of ${n}`);
    this.button("undo").disabled = !this.past.length;
    this.drawBill();
    this.drawCandidates();
    this.caption.innerHTML = this.words();
    this.place.dataset.state = `${this.i}/${n}`;
  }

  // What each message cost the candidate that is shown: [your pixels, the rest].
  prices() {
    const path = this.path();
    return this.steps.slice(1).map((state, k) =>
      [state.given[path[k + 1]], state.own[path[k + 1]]]);
  }

  drawBill() {
    const ratio = window.devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = this.bill;
    Object.assign(this.bill, { width: width * ratio, height: height * ratio });
    const pen = this.bill.getContext("2d");
    pen.scale(ratio, ratio);
    const prices = this.prices();
    const n = Number(this.slider.max);
    const most = Math.max(1, ...prices.map(([a, b]) => Math.max(a, 0) + Math.max(b, 0)));
    const look = getComputedStyle(this.bill);
    const [left, low] = [34, height - 18];
    pen.font = `12px ${look.fontFamily}`;
    pen.fillStyle = pen.strokeStyle = look.color;
    pen.textAlign = "right";
    pen.fillText(most.toFixed(most < 10 ? 1 : 0), left - 5, 12);
    pen.fillText("0", left - 5, low);
    pen.fillRect(left, low, width - left, 1);
    pen.textAlign = "center";
    const step = (width - left) / n;
    for (const i of new Set([1, Math.round(n / 2), n])) {
      pen.fillText(i, left + (i - 0.5) * step - (i === n ? 6 : 0), height - 3);
    }
    prices.forEach(([given, own], k) => {
      let top = low;
      for (const [value, colour] of [[given, COLOURS.given], [own, COLOURS.own]]) {
        const tall = ((low - 6) * Math.max(value, 0)) / most;
        pen.globalAlpha = k < this.i ? 1 : 0.25;
        pen.fillStyle = colour;
        pen.fillRect(left + k * step, top - tall, Math.max(step - 1, 1), tall);
        top -= tall;
      }
    });
    const sum = this.sums().join(" and ");
    this.bill.setAttribute("aria-label", `The price of each of ${n} messages; so far ${sum}`);
  }

  sums() {
    const paid = this.prices().slice(0, this.i);
    const total = (k) => paid.reduce((sum, pair) => sum + pair[k], 0);
    const words = this.known.includes(1) ? [`${total(0).toFixed(1)} nats for your pixels`] : [];
    return [...words, `${total(1).toFixed(1)} nats for ${words.length ? "the rest" : "the picture"}`];
  }

  drawCandidates() {
    const state = this.steps.at(-1);
    this.row.hidden = state.count < 2;
    if (state.count < 2) return;
    while (this.row.children.length < state.count) {
      const button = Object.assign(document.createElement("button"), { type: "button" });
      button.innerHTML = '<canvas width="28" height="28"></canvas><i></i>';
      const c = this.row.children.length;
      button.addEventListener("click", () => {
        this.chosen = c;
        this.draw();
      });
      this.row.append(button);
    }
    while (this.row.children.length > state.count) this.row.lastChild.remove();
    const shown = this.path().at(-1);
    [...this.row.children].forEach((button, c) => {
      const weight = Math.exp(state.logWeights[c]);
      paint(button.firstChild, (j) =>
        (this.known[j] ? GIVEN[this.x[j]] : grey(state.guess[c * SIZE + j])));
      button.lastChild.style.width = `${100 * weight}%`;
      button.setAttribute("aria-pressed", c === shown);
      button.setAttribute("aria-label",
        `candidate ${c + 1}, weight ${Math.round(100 * weight)} per cent`);
    });
  }

  words() {
    const { i, n, c, last } = this.now();
    const told = i ? `After ${i} of ${n} messages: <b>${this.sums().join(", ")}</b>.` :
      "No message yet: every pixel is as likely ink as paper.";
    const end = i === n && last[c] > 0.05 ?
      ` What is still unsure of your pixels costs ${last[c].toFixed(1)} more.` : "";
    return `${told}${end} <small>${Math.round(this.rate)} network calls a second here.</small>`;
  }

  say() {
    if (this.steps.length) this.spoken.textContent = this.caption.textContent;
  }
}

for (const place of document.querySelectorAll(".draw")) invite(place);
