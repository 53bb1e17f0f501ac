// What is common to the places where a network draws or writes before one's eyes: tasks for the worker,
// their states in time, the candidates' past, and the bill. A subclass has the controls, `asked()` for
// the settings of a task and `draw()` for the pictures.

export const COLOURS = { // of bfn_core/views/kit/style.py
  belief: "#0072B2", given: "#D55E00", guess: "#009E73", own: "#AA4499" };

export const MOVING = `
<div class="draw-time">
  <button type="button" data-do="play">▶ play</button>
  <button type="button" data-do="back" aria-label="one message back">‹</button>
  <button type="button" data-do="on" aria-label="one message on">›</button>
  <label><span><span class="draw-steps">messages heard</span> <output></output></span>
    <input type="range" name="at" min="0" value="0" autocomplete="off"></label>
</div>`;

export const CHOICES = `
  <label><span>drawn by</span><select name="quick">
    <option value="0" selected>messages, as the paper does</option>
    <option value="1">a solver: fewer steps</option></select></label>
  <label><span class="draw-count">messages in all</span><select name="n"></select></label>
  <label class="draw-many"><span>candidates for a gap</span><select name="count"></select></label>`;

export const CAPTION = `
<p class="draw-caption"></p><p class="visually-hidden" aria-live="polite"></p>`;

const PRESSED = ["play", "back", "on", "another"];

// Bars, a message each: [for what is known, for the rest], the first `i` of `n` in full colour.
export function drawBill(canvas, prices, n, i) {
  const ratio = window.devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  Object.assign(canvas, { width: width * ratio, height: height * ratio });
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  const most = Math.max(1, ...prices.map(([a, b]) => Math.max(a, 0) + Math.max(b, 0)));
  const look = getComputedStyle(canvas);
  const [left, low] = [34, height - 18];
  pen.font = `12px ${look.fontFamily}`;
  pen.fillStyle = pen.strokeStyle = look.color;
  pen.textAlign = "right";
  pen.fillText(most.toFixed(most < 10 ? 1 : 0), left - 5, 12);
  pen.fillText("0", left - 5, low);
  pen.fillRect(left, low, width - left, 1);
  pen.textAlign = "center";
  const step = (width - left) / n;
  for (const k of new Set([1, Math.round(n / 2), n])) {
    pen.fillText(k, left + (k - 0.5) * step - (k === n ? 6 : 0), height - 3);
  }
  prices.forEach(([given, own], k) => {
    let top = low;
    for (const [value, colour] of [[given, COLOURS.given], [own, COLOURS.own]]) {
      const tall = ((low - 6) * Math.max(value, 0)) / most;
      pen.globalAlpha = k < i ? 1 : 0.25;
      pen.fillStyle = colour;
      pen.fillRect(left + k * step, top - tall, Math.max(step - 1, 1), tall);
      top -= tall;
    }
  });
}

export class Played {
  // `markup` of the controls; `again` the names of those whose change begins a new task.
  constructor(place, worker, markup, again) {
    Object.assign(this, { place, worker });
    this.beta1 = Number(place.dataset.beta1);
    this.seed = 1;
    this.task = 0;
    this.steps = []; // the states of the task that is shown
    this.chosen = null; // a candidate, or null for the heaviest
    this.rate = 0; // network calls a second
    this.still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const root = document.createElement("form");
    root.className = "draw-live";
    root.autocomplete = "off";
    root.innerHTML = markup;
    root.addEventListener("submit", (event) => event.preventDefault());
    // JupyterLab would take the keys for itself, and two d's to delete the cell.
    root.setAttribute("data-lm-suppress-shortcuts", "true");
    root.addEventListener("keydown", (event) => event.stopPropagation());
    place.append(root);
    place.classList.add("draw-begun");
    this.form = root;
    const find = (where) => root.querySelector(where);
    [this.bill, this.row] = [find(".draw-bill canvas"), find(".draw-candidates")];
    [this.slider, this.reads] = [root.elements.at, find("output")];
    [this.caption, this.spoken] = root.querySelectorAll(".draw-caption, [aria-live]");
    for (const words of root.querySelectorAll("[data-of]")) {
      words.style.setProperty("--colour", COLOURS[words.dataset.of]);
    }
    for (const name of PRESSED) this.button(name).addEventListener("click", () => this[name]());
    this.slider.addEventListener("input", () => {
      this.stop();
      this.show(Number(this.slider.value));
    });
    root.addEventListener("change", ({ target }) => {
      if (target.name === "quick") root.elements.n.value = this.setting("quick") ? 10 : 30;
      if (["n", "count", "quick", ...again].includes(target.name)) this.run();
    });
    new ResizeObserver(() => this.draw()).observe(this.bill);
  }

  options(name, values, start) {
    this.form.elements[name].append(
      ...values.map((v) => new Option(v, v, v === start, v === start)));
  }

  setting(name) {
    return Number(this.form.elements[name].value);
  }

  button(name) {
    return this.form.querySelector(`[data-do=${name}]`);
  }

  // ---- Tasks for the worker ----

  // Begins anew; `whole` while the reader is at it: in one quick candidate with few steps. Where
  // nothing is known, or everything, candidates need not be compared.
  run({ whole = null } = {}) {
    const { known, ...asked } = this.asked();
    const gap = known.includes(1) && known.includes(0);
    const task = whole ? { n: whole, count: 1, quick: true } : { n: this.setting("n"),
      count: gap ? this.setting("count") : 1, quick: this.setting("quick") === 1 };
    this.task += 1;
    this.worker.postMessage({ kind: "run", id: this.task, whole: whole !== null, beta1: this.beta1,
      seed: this.seed, known: [...known], ...task, ...asked });
    if (!whole) {
      this.first = this.task; // what came before it is no longer wanted
      this.place.dataset.done = "no";
    }
    this.draw();
  }

  arrived(state) {
    if (state.kind === "card") {
      this.rate = 0;
      Object.assign(this.place.dataset, { engine: state.engine, why: state.why });
      return;
    }
    this.engine = state.engine;
    const rate = (1000 * state.calls) / Math.max(state.ms, 0.1);
    this.rate = this.rate ? 0.9 * this.rate + 0.1 * rate : rate;
    if (state.task < this.first) return;
    if (state.i === 0) this.coming = [];
    this.coming.push(state);
    if (state.task > this.first) { // one of those made while a line is drawn
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
    if (state.i === state.n) {
      this.place.dataset.done = "yes";
      this.draw();
    }
  }

  begin(n) {
    this.stop();
    this.steps = this.coming;
    this.chosen = null;
    this.slider.max = n;
    this.show(0);
  }

  another() {
    this.seed += 1;
    this.run();
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
    if (this.steps.length) this.spoken.textContent = this.caption.textContent;
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

  show(i) {
    this.i = Math.max(0, Math.min(i, this.steps.length - 1));
    this.slider.value = this.i;
    this.draw();
  }

  // ---- What is shown ----

  // The state that is shown, and which candidate's past it is.
  now() {
    const c = this.path()[this.i];
    return { ...this.steps[this.i], c };
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

  // What each message cost the candidate that is shown, in nats: [what is known, the rest].
  prices() {
    const path = this.path();
    return this.steps.slice(1).map((state, k) =>
      [state.given[path[k + 1]], state.own[path[k + 1]]]);
  }

  // The same together, of the messages heard.
  paid() {
    const paid = this.prices().slice(0, this.i);
    return [0, 1].map((k) => paid.reduce((sum, pair) => sum + pair[k], 0));
  }

  // What each drawing does: the places in time, the bill if there is one, and the words below.
  drawCommon(unit, sums, words) {
    const { i, n, quick } = this.now();
    this.reads.textContent = `${i} of ${n}`;
    this.slider.setAttribute("aria-valuetext", `${i} of ${n}`);
    const steps = quick ? "steps" : "messages";
    this.form.querySelector(".draw-steps").textContent = quick ? "steps made" : "messages heard";
    this.form.querySelector(".draw-count").textContent = `${steps} in all`;
    this.form.querySelector(".draw-bill").hidden = quick;
    if (!quick) {
      drawBill(this.bill, this.prices().map((pair) => pair.map((nats) => nats / unit)), n, i);
      this.bill.setAttribute("aria-label",
        `The price of each of ${n} messages; so far ${sums.join(" and ")}`);
    }
    const rate = this.rate.toFixed(this.rate < 10 ? 1 : 0);
    const where = this.engine === "webgpu" ? "on your graphics card" : "here";
    this.caption.innerHTML = `${words} <small>${rate} network calls a second ${where}.</small>`;
    this.place.dataset.state = `${i}/${n}`;
  }

  // A button for each candidate of the last state; `paint(button, c)` puts its picture in, with
  // `blank` as its content at first.
  drawCandidates(blank, paint) {
    const state = this.steps.at(-1);
    this.row.hidden = state.count < 2;
    if (state.count < 2) return;
    while (this.row.children.length < state.count) {
      const button = Object.assign(document.createElement("button"), { type: "button" });
      button.innerHTML = `${blank}<i></i>`;
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
      paint(button.firstChild, c, state);
      button.lastChild.style.width = `${100 * weight}%`;
      button.setAttribute("aria-pressed", c === shown);
      button.setAttribute("aria-label",
        `candidate ${c + 1}, weight ${Math.round(100 * weight)} per cent`);
    });
  }
}
