// Where the reader writes a line with gaps, and a network of letters fills them: the line, each letter's
// belief and guess, the bill, and the controls. The numbers come from worker.js.

import { logProbabilities } from "./letters.js";
import { CAPTION, CHOICES, COLOURS, MOVING, Played } from "./played.js";

const ALPHABET = " abcdefghijklmnopqrstuvwxyz";
const LONGEST_LINE = 96;
const SPACE = "\u2423"; // how a space is shown where it is a letter among others
const EXAMPLES = [
  "the w_r b_tw__n th_ tw_ c__ntr__s",
  "the president of the united ______ of america",
  "he was born in one nine ____ in new york",
  "the _______ war began in one nine three nine",
  "one two three four five six _____ eight nine zero",
];

const LINES = `
<div class="write-line">
  <label><span>Your line, with a _ for each letter that is missing</span>
    <input type="text" name="line" maxlength="${LONGEST_LINE}" spellcheck="false"
      autocapitalize="off" autocomplete="off"></label>
  <div class="draw-buttons">
    <button type="button" data-do="example">another line</button>
    <button type="button" data-do="nothing">write from nothing</button>
  </div>
</div>
<div class="write-sheet" tabindex="0" role="application"></div>
<p class="write-legend"><span class="given">yours</span> <span class="gap">filled</span>
  <i>made up around it</i>, the darker the surer; the blue line: how sure the messages alone are</p>
<div class="write-board">
  <figure class="write-letter"><figcaption><b></b> <span data-of="belief">belief</span>
    <span data-of="guess">guess</span></figcaption><canvas role="img"></canvas></figure>
  <div class="draw-bill"><p><b>Price of a message</b>, bits:
    <span data-of="given">your letters</span> <span data-of="own">the rest</span></p>
    <canvas role="img"></canvas></div>
</div>
<div class="draw-candidates write-candidates" role="group" aria-label="Candidates" hidden></div>
${MOVING}
<div class="draw-choices">${CHOICES}
  <button type="button" data-do="another">another draw</button>
</div>${CAPTION}`;

// A line as the network can read it: 27 symbols, and _ for what is open.
export const fitted = (line) =>
  line.toLowerCase().replace(/[^a-z_]+/g, " ").slice(0, LONGEST_LINE);

// The line in the middle of a window of so many letters, of which nothing else is known: classes,
// which are known, and where the line begins.
export function windowOf(line, length) {
  const start = Math.floor((length - line.length) / 2);
  const x = new Uint8Array(length);
  const known = new Uint8Array(length);
  [...line].forEach((letter, j) => {
    const k = ALPHABET.indexOf(letter);
    [x[start + j], known[start + j]] = [Math.max(k, 0), Number(k >= 0)];
  });
  return { x, known, start };
}

const visible = (k) => (k ? ALPHABET[k] : SPACE);

export class Writer extends Played {
  constructor(place, worker) {
    super(place, worker, LINES, []);
    [this.length, this.classes] = [Number(place.dataset.length), Number(place.dataset.classes)];
    this.size = this.length * this.classes;
    const find = (where) => this.form.querySelector(where);
    [this.sheet, this.letter] = [find(".write-sheet"), find(".write-letter canvas")];
    this.letterName = find(".write-letter b");
    this.form.elements.quick.options[0].textContent = "messages, as the paper does";
    this.options("n", [10, 20, 30, 50, 100], 30);
    this.options("count", [1, 2, 4, 8], 2);
    this.cells = Array.from({ length: this.length }, (_, j) => {
      const cell = document.createElement("span");
      cell.addEventListener("click", () => this.look(j));
      return cell;
    });
    this.sheet.append(...this.cells);
    this.form.elements.line.addEventListener("input", () => this.typed());
    this.button("example").addEventListener("click", () => this.example());
    this.button("nothing").addEventListener("click", () => this.write(""));
    this.sheet.addEventListener("keydown", (event) => this.key(event));
    this.shown = -1;
    this.example();
  }

  example() {
    this.shown = (this.shown + 1) % EXAMPLES.length;
    this.write(EXAMPLES[this.shown]);
  }

  write(line) {
    this.form.elements.line.value = line;
    this.typed();
  }

  typed() {
    this.line = fitted(this.form.elements.line.value);
    Object.assign(this, windowOf(this.line, this.length));
    const gap = this.line.indexOf("_");
    this.at = this.start + Math.max(gap, 0);
    this.run();
  }

  asked() {
    return { x: [...this.x], known: this.known, classes: this.classes };
  }

  look(j) {
    this.at = Math.max(0, Math.min(this.length - 1, j));
    this.draw();
  }

  key(event) {
    const across = this.cells.findIndex((cell) => cell.offsetTop > this.cells[0].offsetTop);
    const way = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across };
    if (!(event.key in way)) return;
    event.preventDefault();
    this.look(this.at + way[event.key]);
  }

  // ---- The pictures ----

  // The probabilities of the classes at place j of candidate c, from logits.
  shares(logits, c, j) {
    const from = c * this.size + j * this.classes;
    const row = logits.subarray(from, from + this.classes);
    return [...logProbabilities(row, this.classes)].map(Math.exp);
  }

  // A candidate's line as it stands in a state: what is known, and the likeliest of the rest.
  reading(state, c) {
    const letters = [...this.line].map((letter, k) => {
      if (letter !== "_") return letter;
      const shares = this.shares(state.guess, c, this.start + k);
      return ALPHABET[shares.indexOf(Math.max(...shares))];
    });
    return letters.join("");
  }

  draw() {
    if (!this.steps.length) return;
    const { i, n, belief, guess, c, quick, last } = this.now();
    const end = this.start + this.line.length;
    this.cells.forEach((cell, j) => {
      const shares = this.shares(guess, c, j);
      const best = shares.indexOf(Math.max(...shares));
      const within = j >= this.start && j < end;
      const kind = this.known[j] ? "given" : within ? "gap" : "around";
      const letter = this.known[j] ? ALPHABET[this.x[j]] : ALPHABET[best];
      cell.className = j === this.at ? `${kind} at` : kind;
      cell.textContent = letter === " " ? (kind === "gap" ? SPACE : "\u00a0") : letter;
      cell.style.setProperty("--sure", this.known[j] ? 1 : shares[best].toFixed(3));
      cell.style.setProperty("--belief", Math.max(...this.shares(belief, c, j)).toFixed(3));
    });
    const whole = this.line ? `Your line now reads: ${this.reading(this.now(), c)}.` :
      `It now reads: ${this.cells.map((cell) => cell.textContent).join("")}.`;
    this.sheet.setAttribute("aria-label", `${this.length} letters. ${whole} Arrow keys choose a `
      + `letter; now number ${this.at + 1}, ${this.cells[this.at].textContent}.`);
    this.drawLetter(this.shares(belief, c, this.at), this.shares(guess, c, this.at));
    this.drawCandidates("<span></span>", (words, k, state) => {
      words.textContent = this.reading(state, k);
    });
    const bits = this.paid().map((nats) => nats / Math.LN2);
    const count = this.known.reduce((sum, one) => sum + one, 0);
    const sums = count ? [`${bits[0].toFixed(1)} bits for your ${count} letters`] : [];
    sums.push(`${bits[1].toFixed(1)} bits for ${count ? "the rest" : "the text"}`);
    const told = i ? `After ${i} of ${n} messages: <b>${sums.join(", ")}</b>.` :
      "No message yet: every letter is as likely as any other.";
    const open = i === n && last[c] > 0.07 ?
      ` What is still unsure of your letters costs ${(last[c] / Math.LN2).toFixed(1)} more.` : "";
    const solver = `After ${i} of ${n} steps of the solver. It follows an equation of motion and `
      + "sends no messages, so there is no price.";
    this.drawCommon(Math.LN2, sums, quick ? solver : told + open);
  }

  // Two bars for each of the letters that may stand at the chosen place.
  drawLetter(belief, guess) {
    const ratio = window.devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = this.letter;
    Object.assign(this.letter, { width: width * ratio, height: height * ratio });
    const pen = this.letter.getContext("2d");
    pen.scale(ratio, ratio);
    const look = getComputedStyle(this.letter);
    pen.font = `11px ${look.fontFamily}`;
    pen.textAlign = "center";
    const [step, low] = [width / this.classes, height - 16];
    for (let k = 0; k < this.classes; k++) {
      [[belief[k], COLOURS.belief], [guess[k], COLOURS.guess]].forEach(([share, colour], which) => {
        const tall = (low - 2) * share;
        pen.fillStyle = colour;
        pen.fillRect((k + 0.08 + 0.42 * which) * step, low - tall, 0.4 * step, tall);
      });
      pen.fillStyle = look.color;
      pen.fillText(visible(k), (k + 0.5) * step, height - 3);
    }
    pen.fillRect(0, low, width, 1);
    const told = (shares) => {
      const best = shares.indexOf(Math.max(...shares));
      return `${best ? ALPHABET[best] : "a space"} ${Math.round(100 * shares[best])} per cent`;
    };
    this.letterName.textContent = `Letter ${this.at + 1} of ${this.length}`;
    this.letter.setAttribute("aria-label", `What may stand there, of ${this.classes} letters. `
      + `Belief: ${told(belief)}. Guess: ${told(guess)}.`);
  }
}
