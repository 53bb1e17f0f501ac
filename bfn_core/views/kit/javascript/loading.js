// The button that the reader presses before anything is loaded, and what is seen until all is there.
// Whatever cannot be is told in words, and the picture stays where it stands.

export const megabytes = (count) => (count / 1e6).toFixed(1);

// Puts the button into `place`. `begin(say)` gives, or promises, a worker and what to send it; `make`
// builds from the worker what then stands in the place of the picture.
export function invite(place, { button: words, told, total, begin, make }) {
  const form = document.createElement("p");
  form.className = "draw-invite";
  const button = Object.assign(document.createElement("button"),
    { type: "button", textContent: words });
  const status = Object.assign(document.createElement("span"), { textContent: told });
  status.setAttribute("role", "status");
  form.append(button, status);
  place.prepend(form);
  button.addEventListener("click", () =>
    started(place, { form, button, status, total, begin, make }));
}

async function started(place, { form, button, status, total, begin, make }) {
  const bar = Object.assign(document.createElement("progress"), { max: total, value: 0 });
  bar.setAttribute("aria-label", "loading");
  button.disabled = true;
  status.setAttribute("role", "status");
  form.append(bar);
  let worker;
  const failed = (error) => {
    worker?.terminate();
    bar.remove();
    button.disabled = false;
    button.textContent = "↻ Try again";
    status.setAttribute("role", "alert");
    status.textContent = `This browser could not start it: ${error} The picture shows what it does.`;
    place.classList.remove("draw-begun");
    place.querySelector(".draw-live")?.remove();
    form.hidden = false;
  };
  if (typeof WebAssembly !== "object" || typeof DecompressionStream !== "function") {
    failed("it lacks WebAssembly or DecompressionStream, which browsers have since 2023.");
    return;
  }
  try {
    const [made, message] = await begin((words) => { status.textContent = words; });
    worker = made;
    // What the runtime throws where nobody waits for it, too.
    worker.onerror = (event) => failed(`${event.message ?? "a file did not arrive"}.`);
    let board;
    let arrived = 0;
    worker.onmessage = ({ data }) => {
      if (data.kind === "bytes") {
        arrived += data.count;
        bar.value = arrived;
        status.textContent = arrived < total ?
          `${megabytes(arrived)} of ${megabytes(total)} MB` : "starting the network …";
      } else if (data.kind === "ready") {
        form.hidden = true;
        bar.remove();
        board = make(worker);
      } else if (data.kind === "error") {
        failed(`${data.words}.`);
      } else {
        board.arrived(data);
      }
    };
    worker.postMessage(message);
  } catch (error) {
    failed(`${error.message ?? error}.`);
  }
}

// What a page of the website loads: its worker, and files beside it. `?card=never` keeps it from
// trying a graphics card, as a browser does that saves data; `?card=always` makes it try in any case.
export async function fromThisFolder(here, model, sizes) {
  const beside = (name) => new URL(name, here).href;
  const worker = new Worker(beside("worker.js"), { type: "module" });
  const names = ["ort.mjs", "ort-wasm-simd-threaded.mjs", "ort.wasm.gz"];
  const wish = new URLSearchParams(window.location.search).get("card");
  const never = wish === "never" || (!wish && navigator.connection?.saveData);
  const card = never ? null : { folder: beside("."), always: wish === "always" };
  return [worker, { kind: "open", addresses: names.map(beside), model: { address: beside(model) },
    card, sizes }];
}
