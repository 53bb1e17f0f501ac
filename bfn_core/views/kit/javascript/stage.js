// What the drawings in the reader's browser share: sliders, a play button, a canvas that is drawn
// at most once per frame, a legend, and the exchange of state with the kernel where there is one.

export const FONT =
  '12px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';

const CSS = `
.bfn-stage {background: #fff; color: #222; border-radius: 8px; padding: 12px 14px; box-sizing:
  border-box; max-width: 940px; font: 13px/1.4 system-ui, -apple-system, "Segoe UI", Roboto,
  "DejaVu Sans", sans-serif; font-variant-numeric: tabular-nums}
.bfn-stage .controls {display: flex; flex-wrap: wrap; gap: 6px 18px; align-items: flex-end}
.bfn-stage label {display: flex; flex-direction: column; flex: 1 1 120px; min-width: 110px}
.bfn-stage label > span {display: flex; justify-content: space-between}
.bfn-stage output {font-weight: 600}
.bfn-stage input {width: 100%; margin: 3px 0; height: 18px; accent-color: var(--accent)}
.bfn-stage button {font: inherit; color: inherit; background: #f3f3f3; border: 1px solid #c4c4c4;
  border-radius: 6px; padding: 4px 12px; cursor: pointer; white-space: nowrap}
.bfn-stage button:hover {background: #e8e8e8}
.bfn-stage button.play {min-width: 88px}
.bfn-stage .options button {margin-left: -1px; border-radius: 0; padding: 4px 10px}
.bfn-stage .options button:first-of-type {border-radius: 6px 0 0 6px; margin-left: 0}
.bfn-stage .options button:last-of-type {border-radius: 0 6px 6px 0}
.bfn-stage .options button[aria-pressed=true] {background: var(--accent); color: #fff}
.bfn-stage .options span {display: block}
.bfn-stage canvas {display: block; width: 100%; margin: 10px 0 6px; touch-action: pan-y}
.bfn-stage .words {display: grid; grid-template-columns: repeat(auto-fit, minmax(128px, 1fr));
  gap: 8px 12px}
.bfn-stage .words div {border-top: 4px solid; padding-top: 4px; line-height: 1.35}
.bfn-stage .words b {display: block; font-weight: 600}
.bfn-stage .words small {display: block; color: #555; font-size: 12px}
.bfn-stage sub {line-height: 0}
.bfn-stage .note {color: #555; margin-top: 9px}`;

export const number = (v, digits = 2) => v.toFixed(digits).replace("-", "\u2212");

// Numbers from 0 to 1, without the ends, from an integer seed: mulberry32.
export function uniforms(seed) {
  let state = Math.imul(seed, 0x9e3779b9);
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 15), z | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return (((z ^ (z >>> 14)) >>> 0) + 0.5) / 4294967296;
  };
}

// `count` standard normal numbers from an integer seed: Box and Muller.
export function normals(count, seed) {
  const uniform = uniforms(seed);
  return Array.from({ length: count },
    () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()));
}

export function element(kind, parent, properties = {}) {
  const made = document.createElement(kind);
  Object.assign(made, properties);
  parent.append(made);
  return made;
}

// JupyterLab would take the arrow keys for itself, and two d's to delete the cell.
export function keepKeys(control) {
  control.setAttribute("data-lm-suppress-shortcuts", "true");
  control.addEventListener("keydown", (event) => event.stopPropagation());
}

// A slider; `to` makes a value of its position and `from` goes back. Returns what shows a value.
function addSlider(parent, spec, changed, settled) {
  const { to = (v) => v, from = (v) => v } = spec;
  const label = element("label", parent);
  const line = element("span", label);
  element("span", line, { textContent: spec.label });
  const readout = element("output", line);
  const input = element("input", label,
    { type: "range", min: spec.min, max: spec.max, step: spec.step });
  input.setAttribute("aria-label", spec.label);
  keepKeys(input);
  input.addEventListener("input", () => changed(spec.name, to(Number(input.value))));
  input.addEventListener("change", settled);
  return (value) => {
    if (document.activeElement !== input || to(Number(input.value)) !== value) {
      input.value = from(value);
    }
    readout.textContent = number(value, spec.digits);
    input.setAttribute("aria-valuetext", number(value, spec.digits));
  };
}

// One of a few things, as buttons side by side. Returns what shows the one that holds.
function addOptions(parent, spec, changed, settled) {
  const group = element("div", parent, { className: "options" });
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", spec.label);
  element("span", group, { textContent: spec.label });
  const buttons = spec.options.map(([text, value]) => {
    const button = element("button", group, { type: "button", textContent: text });
    keepKeys(button);
    button.addEventListener("click", () => { changed(spec.name, value); settled(); });
    return [button, value];
  });
  return (value) => {
    for (const [button, own] of buttons) {
      button.setAttribute("aria-pressed", own === value);
      button.classList.toggle("mod-active", own === value); // what ipywidgets calls it
    }
  };
}

// The legend under a drawing. Returns what shows its entries: the name of a colour, a name, its
// numbers now, and what it is.
export function addWords(parent, colours) {
  const legend = element("div", parent, { className: "words" });
  return (entries) => legend.replaceChildren(...entries.map(([colour, title, numbers, what]) => {
    const cell = document.createElement("div");
    cell.style.borderColor = colours[colour];
    cell.innerHTML = `${title}<b>${numbers}</b><small>${what}</small>`;
    return cell;
  }));
}

// The whole of an explorer but its drawing. `draw(pen, width, s)` draws on a canvas `width` CSS
// pixels wide the state `s`, and `layout(width)` says how high that will be. "t" can be played.
// Returns the parts, and `change(name, value)` and `settled()` for what else moves the state.
export function stage({ model, el, controls, layout, draw, seconds = 6 }) {
  const names = Object.keys(model.get("state"));
  const s = { ...model.get("settings"), ...model.get("state") };
  const root = element("div", el, { className: "bfn-stage" });
  root.style.setProperty("--accent", s.colours.input);
  element("style", root, { textContent: CSS });
  const row = element("div", root, { className: "controls" });
  const play = element("button", row, { className: "play", type: "button" });
  keepKeys(play);
  const canvas = document.createElement("canvas");
  canvas.setAttribute("role", "img");

  let waiting = false;
  let playing = 0; // the moment at which the playing would have begun at t = 0
  let redraws = 0;

  function change(name, value) {
    s[name] = value;
    if (!waiting) {
      waiting = true;
      requestAnimationFrame(redraw);
    }
  }
  function settled() {
    model.set("state", Object.fromEntries(names.map((name) => [name, s[name]])));
    model.save_changes();
  }
  const shown = controls.map((spec) =>
    [spec.name, (spec.options ? addOptions : addSlider)(row, spec, change, settled)]);
  const again = element("button", row, { type: "button", textContent: "Another draw" });
  keepKeys(again);
  again.addEventListener("click", () => { change("seed", s.seed + 1); settled(); });
  root.append(canvas);

  function redraw() {
    waiting = false;
    const width = Math.max(320, canvas.clientWidth || 880);
    const height = layout(width).height;
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.height = `${height}px`;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    draw(pen, width, s);
    shown.forEach(([name, show]) => show(s[name]));
    play.textContent = playing ? "\u25a0 Stop" : "\u25b6 Play";
    canvas.dataset.redraws = ++redraws;
  }
  function stop() {
    playing = 0;
  }
  function tick(moment) {
    if (!playing) return;
    const t = (moment - playing) / (1000 * seconds);
    if (t >= 1) stop();
    change("t", Math.max(0, Math.min(1, t)));
    if (playing) requestAnimationFrame(tick);
    else settled();
  }
  play.addEventListener("click", () => {
    if (playing) {
      stop();
      settled();
    } else {
      playing = performance.now() - 1000 * seconds * (s.t < 1 ? s.t : 0);
      requestAnimationFrame(tick);
    }
    change("t", s.t);
  });
  model.on("change:state", () => {
    for (const [name, value] of Object.entries(model.get("state"))) {
      if (value !== s[name]) change(name, value);
    }
  });
  const watcher = new ResizeObserver(() => change("t", s.t));
  watcher.observe(root);
  requestAnimationFrame(redraw);
  return { root, canvas, s, change, settled, stop, close: () => watcher.disconnect() };
}
