// The seven things that a page of the site needs a script for.

// An explorer in a frame says how high it is, and gets that much room: on a narrow screen its
// panels stand one above the other.
window.addEventListener("message", ({ data, source }) => {
  if (typeof data?.bfnHeight !== "number") return;
  const own = (frame) => frame.contentWindow === source;
  const frame = [...document.querySelectorAll("iframe")].find(own);
  if (frame) frame.style.height = `${Math.ceil(data.bfnHeight)}px`;
});
for (const frame of document.querySelectorAll("iframe")) { // one may have told before this ran
  frame.contentWindow.postMessage("How high are you?", "*");
}

// On paper nothing can be unfolded: print what is folded away, and fold it again afterwards.
window.addEventListener("beforeprint", () => {
  for (const folded of document.querySelectorAll("details:not([open])")) {
    folded.open = true;
    folded.dataset.forPrint = "";
  }
});
window.addEventListener("afterprint", () => {
  for (const folded of document.querySelectorAll("details[data-for-print]")) {
    folded.open = false;
    delete folded.dataset.forPrint;
  }
});

// On a screen, a formula in a line of prose that is wider than the page, as on a phone, gets a box
// to scroll in. (Not each of them: a box that scrolls stands higher than the words beside it.)
function fitFormulas() {
  const formulas = [...document.querySelectorAll("span.math")];
  const wide = formulas.map((formula) =>
    formula.firstElementChild?.offsetWidth > formula.closest("p, li, td, article").clientWidth);
  formulas.forEach((formula, i) => formula.classList.toggle("wide", wide[i]));
}

// On paper nothing scrolls, so the style sheet makes a formula or a table smaller that is too wide.
// No script can know the paper; what it can tell is how wide each of them is in its own em, and the
// size that MathJax gave a formula to go with the words around it, which depends on the fonts.
function measure() {
  const formulas = [...document.querySelectorAll("mjx-container")];
  const wide = formulas.map((formula) => {
    const size = parseFloat(getComputedStyle(formula).fontSize);
    const math = formula.querySelector("mjx-math").getBoundingClientRect().width / size;
    return parseFloat(formula.style.minWidth) || math;  // a formula with a number fills its line
  });
  formulas.forEach((formula, i) => {
    formula.style.setProperty("--em-wide", wide[i]);
    formula.style.setProperty("--full-size", formula.style.fontSize);
  });
  const tables = [...document.querySelectorAll("article table")];
  for (const table of tables) table.classList.add("narrowest");
  const widths = tables.map((table) =>
    table.getBoundingClientRect().width / parseFloat(getComputedStyle(table).fontSize));
  tables.forEach((table, i) => {
    table.classList.remove("narrowest");
    table.style.setProperty("--em-wide", widths[i]);
  });
}
window.addEventListener("load", async () => {
  if (window.MathJax) await window.MathJax.startup.promise;
  new ResizeObserver(fitFormulas).observe(document.querySelector("article"));
  // Now all is unfolded that will be printed, since this comes after the listener above.
  window.addEventListener("beforeprint", measure);
});

// A figure of Plotly's is drawn when it comes near the window, out of one file for the whole site,
// which only pages with such a figure load. Until then its picture stands in its place.
const PLOTLY = new URL("plotly.min.js", document.currentScript.src);
let plotly;
function loadPlotly() {
  plotly ??= new Promise((resolve, reject) => {
    const script = Object.assign(document.createElement("script"), { src: PLOTLY });
    script.onload = () => resolve(window.Plotly);
    script.onerror = reject;
    document.head.append(script);
  });
  return plotly;
}
async function drawFigure(place) {
  const Plotly = await loadPlotly();
  const figure = JSON.parse(place.querySelector("script").textContent);
  place.hidden = false;
  // What is seen in depth is as large as its place is high: on a phone it must be no higher than
  // wide, above the slider, or its sides are cut off.
  const { layout } = figure;
  layout.height = Math.min(layout.height, place.clientWidth + (layout.sliders ? 90 : 0));
  figure.config = { ...figure.config, responsive: true }; // here nothing else fits it to its place
  await Plotly.newPlot(place, figure);
  place.classList.add("drawn");
  // The arrow keys go from frame to frame, as they would on a slider of the browser's.
  place.addEventListener("keydown", (event) => {
    const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const [slider] = place.layout.sliders ?? [];
    const step = slider?.steps[(slider.active ?? 0) + way];
    if (!step) return;
    event.preventDefault();
    Plotly.animate(place, ...step.args);
  });
}
// Plotly gives up a promise, for no reason, when something that plays is stopped.
window.addEventListener("unhandledrejection", (event) => {
  if (plotly && event.reason === undefined) event.preventDefault();
});
const near = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    near.unobserve(target);
    drawFigure(target.querySelector(".plotly-figure"));
  }
}, { rootMargin: "800px" });
for (const place of document.querySelectorAll(".plotly-figure")) {
  near.observe(place.closest(".cell_output"));
}

// The film of an explorer: its controls, and the picture of the state in which they stand. The
// first picture is there with the page; the others, which are laid over it, come when it is seen.
function film(place) {
  const told = JSON.parse(place.querySelector("script").textContent);
  const { controls, frames, captions, width, height } = told;
  const picture = place.querySelector(".film-picture");
  const [first, canvas, caption] = ["img", "canvas", ".film-caption"].map((which) =>
    place.querySelector(which));
  const paper = canvas.getContext("2d");
  const at = controls.map(({ start }) => start);
  const pictures = new Map(); // by file name, once they are asked for
  const fetched = (name) => {
    if (!pictures.has(name)) {
      const image = Object.assign(new Image(), { src: `${place.dataset.folder}/${name}` });
      pictures.set(name, { image, ready: image.decode().then(() => true, () => false) });
    }
    return pictures.get(name);
  };

  let drawing = 0; // only the last state that was asked for is shown
  async function draw() {
    const turn = ++drawing;
    const state = controls.reduce((sum, { words }, i) => sum * words.length + at[i], 0);
    const layer = frames[state] && fetched(frames[state]);
    if (layer && !(layer.image.complete && layer.image.naturalWidth)) await layer.ready;
    if (!first.complete) await first.decode().catch(() => {});
    if (turn !== drawing) return;
    if (canvas.hidden) {
      Object.assign(canvas, { width: first.naturalWidth, height: first.naturalHeight });
      canvas.hidden = false;
    }
    paper.drawImage(first, 0, 0);
    if (layer) paper.drawImage(layer.image, 0, 0);
    caption.innerHTML = captions[captions.length > 1 ? state : 0];
    place.dataset.state = state;
  }

  const form = document.createElement("form");
  form.className = "film-controls";
  form.autocomplete = "off"; // a page that is loaded again begins where the pictures begin
  form.addEventListener("submit", (event) => event.preventDefault());
  controls.forEach(({ label, kind, words, start, play }, i) => {
    const row = document.createElement(kind === "press" ? "div" : "label");
    row.className = `film-${kind}`;
    if (kind === "press") { // after the last it begins again
      const button = Object.assign(document.createElement("button"), { textContent: label });
      button.type = "button";
      button.addEventListener("click", () => {
        at[i] = (at[i] + 1) % words.length;
        draw();
      });
      row.append(button);
    } else if (kind === "choose") {
      const list = document.createElement("select");
      list.append(...words.map((word, value) => new Option(word, value, false, value === start)));
      list.addEventListener("change", () => {
        at[i] = Number(list.value);
        draw();
      });
      row.append(Object.assign(document.createElement("span"), { textContent: label }), list);
    } else {
      const slider = Object.assign(document.createElement("input"),
        { type: "range", min: 0, max: words.length - 1, value: start, autocomplete: "off" });
      const reads = document.createElement("output");
      const move = () => {
        at[i] = Number(slider.value);
        reads.textContent = words[at[i]];
        slider.setAttribute("aria-valuetext", words[at[i]]);
        return draw();
      };
      slider.addEventListener("input", move);
      const name = Object.assign(document.createElement("span"), { textContent: label });
      row.append(name, slider, reads);
      reads.textContent = words[start];
      slider.setAttribute("aria-valuetext", words[start]);
            reads.style.minWidth = `${Math.max(...words.map(({ length }) => length))}ch`;
      if (play) form.append(player(slider, move, told.seconds));
    }
    form.append(row);
  });
  place.prepend(form);
  new IntersectionObserver((entries, observer) => {
    if (!entries.some(({ isIntersecting }) => isIntersecting)) return;
    observer.disconnect();
    for (const name of frames) if (name) fetched(name);
  }, { rootMargin: "300px" }).observe(picture);
}

// A button that moves a slider from where it stands, or else from its beginning, to its end.
function player(slider, move, seconds) {
  const button = Object.assign(document.createElement("button"), { type: "button" });
  let ticking;
  const stop = () => {
    clearInterval(ticking);
    ticking = undefined;
    button.textContent = "▶ play";
  };
  stop();
  button.addEventListener("click", () => {
    if (ticking) return stop();
    button.textContent = "■ stop";
    if (slider.value === slider.max) slider.value = 0;
    const step = async () => {
      await move();
      if (slider.value === slider.max) stop();
    };
    ticking = setInterval(() => {
      slider.value = Number(slider.value) + 1;
      step();
    }, 1000 * seconds / slider.max);
    return step();
  });
  return button;
}
for (const place of document.querySelectorAll(".film")) film(place);

// Where the reader may draw with a network: a script of its own, which loads that when it is asked.
if (document.querySelector(".draw")) import(new URL("draw/page.js", PLOTLY));
