// A network that draws or writes in a notebook. When the button is pressed the kernel hands over the
// network and the runtime, or the network alone, and then the runtime comes from a public host, with
// its digests; from there on the kernel is not asked again.

import { Board } from "./draw.js";
import { invite, megabytes } from "./loading.js";
import { Writer } from "./write.js";

const LIGHT = `color: #222; background: #fff; border-radius: 8px; padding: 12px 14px; max-width: 940px;
box-sizing: border-box; font: 14px/1.4 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans",
sans-serif; --font-size--small: 14px; --color-foreground-primary: #222;
--color-foreground-secondary: #555; --color-foreground-muted: #888; --color-background-border: #c4c4c4;
--color-background-primary: #fff; --color-background-secondary: #f3f3f3`;

const bytesOf = (view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength).slice();

// What the kernel gives: its words if it has no runtime, and the bytes of the network and the files.
function asked(model) {
  return new Promise((done) => {
    const name = String(Math.random());
    const heard = (message, buffers) => {
      if (message.to !== name) return; // the answer to another view
      model.off("msg:custom", heard);
      done([message.words, buffers.map(bytesOf)]);
    };
    model.on("msg:custom", heard);
    model.send({ from: name });
  });
}

function render({ model, el }) {
  const { words, width, host, parts, bytes, ...data } = model.get("settings");
  const place = document.createElement("div");
  place.className = "draw";
  place.style.cssText = LIGHT;
  Object.assign(place.dataset, data);
  const picture = document.createElement("img");
  Object.assign(picture, { className: "draw-still", width, alt: words,
    src: URL.createObjectURL(new Blob([model.get("picture")], { type: "image/png" })) });
  place.append(picture);
  el.append(place);

  let worker;
  async function begin(say) {
    say("asking the kernel: it answers once it has nothing else to do, and fetches the runtime the "
      + "first time, 20 MB …");
    const late = setTimeout(() =>
      say("the kernel has not answered yet. Is it busy, or was it stopped?"), 60_000);
    const [failed, [network, ...files]] = await asked(model);
    clearTimeout(late);
    say(failed ? "fetching the runtime from a public host …" : "starting the network …");
    const text = new Blob([model.get("worker")], { type: "text/javascript" });
    worker = new Worker(URL.createObjectURL(text), { type: "module" });
    return [worker, { kind: "open", model: { bytes: network }, ...(failed ?
      { addresses: parts.map(([name]) => host + name), digests: parts.map(([, sum]) => sum) } :
      { files }) }];
  }
  const Kind = data.classes ? Writer : Board;
  invite(place, {
    button: "▶ Run it in this browser",
    told: `${megabytes(bytes)} MB, once; from then on the kernel has nothing to do`,
    total: Number(bytes),
    begin,
    make: (made) => { place.board = new Kind(place, made); return place.board; },
  });
  place.querySelector(".draw-invite button").dataset.fetches = "";
  return () => worker?.terminate();
}

export default { render };
