// A network in the browser: ONNX Runtime Web and a model, from their bytes, in a worker or a page.

export const RUNTIME = ["ort.mjs", "ort-wasm-simd-threaded.mjs", "ort.wasm.gz"];

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

// From the bytes of the three files of RUNTIME and of a model, a function `run(inputs)`; inputs are
// [type, data, sizes] by name, those that the model does not have are left out. It gives the raw
// output, or a promise of it.
export async function open(runtime, model) {
  const addressed = (bytes, type) => URL.createObjectURL(new Blob([bytes], { type }));
  const script = (bytes) => addressed(bytes, "text/javascript");
  const [wasm, network] = await Promise.all([unpacked(runtime[2]), unpacked(model)]);
  const ort = await import(script(runtime[0]));
  ort.env.wasm.numThreads = 1; // more would need a page that is isolated from all others
  ort.env.wasm.wasmPaths = { mjs: script(runtime[1]), wasm: addressed(wasm, "application/wasm") };
  const session = await ort.InferenceSession.create(network, { executionProviders: ["wasm"] });
  return async (inputs) => {
    const tensors = session.inputNames.map((name) => [name, new ort.Tensor(...inputs[name])]);
    const answer = await session.run(Object.fromEntries(tensors));
    return answer.raw.data;
  };
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
