// A network in the browser: ONNX Runtime Web and a model, from their bytes, in a worker or a page.

export const RUNTIME = ["ort.mjs", "ort-wasm-simd-threaded.mjs", "ort.wasm.gz"];
export const CARD = ["card.mjs", "card-wasm.mjs", "card.wasm.gz"]; // for a graphics card, too

// The bytes of a file; `heard(count)` is told of each piece that arrives. With `integrity`, a digest,
// other bytes are refused.
export async function fetched(address, heard, integrity) {
  const answer = await fetch(address, integrity ? { integrity } : {});
  const name = String(address).split("/").at(-1);
  if (!answer.ok) throw new Error(`${name}: the server answered ${answer.status}`);
  const parts = [];
  const reader = answer.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    heard(value.length);
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

// The same bytes, unpacked if they are packed: some servers do that by themselves.
async function unpacked(bytes) {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// From the bytes of the three files of RUNTIME, or of CARD, and of a model, a function `run(inputs)`;
// inputs are [type, data, sizes] by name, those that the model does not have are left out. It gives a
// promise of the raw output. `engine`: "wasm", or with CARD "webgpu", the graphics card.
export async function open(runtime, model, engine = "wasm") {
  const addressed = (bytes, type) => URL.createObjectURL(new Blob([bytes], { type }));
  const script = (bytes) => addressed(bytes, "text/javascript");
  const [wasm, network] = await Promise.all([unpacked(runtime[2]), unpacked(model)]);
  const ort = await import(script(runtime[0]));
  ort.env.logLevel = "error"; // it warns of what it computes on the processor for good reason
  ort.env.wasm.numThreads = 1; // more would need a page that is isolated from all others
  ort.env.wasm.wasmPaths = { mjs: script(runtime[1]), wasm: addressed(wasm, "application/wasm") };
  const session = await ort.InferenceSession.create(network, { executionProviders: [engine] });
  return async (inputs) => {
    const tensors = session.inputNames.map((name) => [name, new ort.Tensor(...inputs[name])]);
    const answer = await session.run(Object.fromEntries(tensors));
    return answer.raw.data;
  };
}

// Is there a graphics card that this page may compute on? (A processor that acts as one is none.)
export async function hasCard() {
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  return Boolean(adapter) && !(adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter);
}

// The shortest of some calls of `run`, in milliseconds, and what it gave. The first call prepares.
async function spent(run, inputs) {
  const raw = Float32Array.from(await run(inputs));
  let shortest = Infinity;
  for (let k = 0; k < 5; k++) {
    const before = performance.now();
    await run(inputs);
    shortest = Math.min(shortest, performance.now() - before);
  }
  return [shortest, raw];
}

const CLOSE = 1e-3; // of the largest output: how far a card may be off
const broken = (error) => `the graphics card failed: ${error?.message ?? error}`;

// Whether a graphics card shall run the network: `run` is the processor's function, `opening` promises
// the card's. Gives { milliseconds: { wasm, webgpu } } with `run` if the card is to be taken, or with
// `why` if not: it is slower, wrong, or fails, or has not answered after `patience` milliseconds.
export async function compared(run, opening, inputs, patience = 30000) {
  const milliseconds = {};
  const late = new Promise((done) => { setTimeout(done, patience, "it is not ready in time"); });
  const found = (async () => {
    const card = await opening;
    const [webgpu, other] = await spent(card, inputs);
    const [wasm, raw] = await spent(run, inputs);
    Object.assign(milliseconds, { wasm, webgpu });
    const most = raw.reduce((found, value) => Math.max(found, Math.abs(value)), 0);
    // (Not greater, so that what is no number is wrong, too.)
    if (!raw.every((value, k) => Math.abs(value - other[k]) <= CLOSE * most)) {
      return "the graphics card computes something else";
    }
    return webgpu < wasm ? card : "the graphics card is not quicker";
  })().catch(broken);
  const answer = await Promise.race([found, late]);
  return typeof answer === "function" ? { milliseconds, run: answer } : { milliseconds, why: answer };
}

// network(theta, times, labels) as pixels.js calls it.
export const ofPixels = (run) => (theta, times, labels) => {
  const count = times.length;
  return run({
    theta: ["float32", theta, [count, 1, 28, 28, 2]],
    t: ["float32", Float32Array.from(times), [count]],
    label: ["int64", BigInt64Array.from(labels, BigInt), [count]],
  });
};

// network(theta, times) as letters.js calls it.
export const ofLetters = (run, classes) => (theta, times) => {
  const count = times.length;
  return run({
    theta: ["float32", theta, [count, theta.length / count / classes, classes]],
    t: ["float32", Float32Array.from(times), [count]],
  });
};
