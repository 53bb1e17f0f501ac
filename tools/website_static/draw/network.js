// The network: ONNX Runtime Web and the model, both from this folder, in a worker or in a page.

// The bytes of a file; `heard(count)` is told of each piece that arrives.
async function fetched(name, heard) {
  const answer = await fetch(new URL(name, import.meta.url));
  if (!answer.ok) throw new Error(`${name}: the server answered ${answer.status}`);
  const parts = [];
  const reader = answer.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    heard(value.length);
  }
  const packed = new Uint8Array(await new Blob(parts).arrayBuffer());
  if (packed[0] !== 0x1f || packed[1] !== 0x8b) return packed; // the server has unpacked it
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// A function network(theta, times, labels) that gives the raw output, as pixels.js calls it.
export async function open(heard = () => {}, options = {}) {
  const [ort, wasm, model] = await Promise.all([
    import("./ort.mjs"), fetched("ort.wasm.gz", heard), fetched("model.onnx.gz", heard)]);
  ort.env.wasm.numThreads = 1; // more would need a page that is isolated from all others
  ort.env.wasm.wasmPaths = { mjs: new URL("ort-wasm-simd-threaded.mjs", import.meta.url).href };
  ort.env.wasm.wasmBinary = wasm.buffer;
  const session = await ort.InferenceSession.create(model,
    { executionProviders: ["wasm"], ...options });
  return async (theta, times, labels) => {
    const count = labels.length;
    const answer = await session.run({
      theta: new ort.Tensor("float32", theta, [count, 1, 28, 28, 2]),
      t: new ort.Tensor("float32", Float32Array.from(times), [count]),
      label: new ort.Tensor("int64", BigInt64Array.from(labels, BigInt), [count]),
    });
    return answer.raw.data;
  };
}
