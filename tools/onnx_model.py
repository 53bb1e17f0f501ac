"""Write the U-Net of binary pixels as an ONNX graph, for engines without Python.

    python -m tools.onnx_model FILE                        the shipped weights that know labels
    python -m tools.onnx_model FILE --name mnist           other shipped weights

The graph is written operator by operator, beside `UNet.forward`, and not traced: it depends on no
exporter's version, has half of the operators that tracing leaves, and a free batch size. Inputs are
those of the network, `theta` (B, 1, H, W, 2), `t` (B,) and `label` (B,), int64, −1 for not told;
the output is its raw one, (B, 1, H, W, 2).

Weights are stored as whole numbers of 16 bits, a scale to each row, which is closer than float16 at
the same size; an engine makes float32 of them when it loads the file, and computes in that.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from bfn_core.networks.unet import Attention, Block, Norm, TimeEmbedding, UNet
from bfn_core.training import shipped

OPSET = 17
IR = 8  # read by every engine since 2022
LARGEST = 32767  # of 16 bits


class Graph:
    """Nodes and weights, gathered call by call; a value is known by its name."""

    def __init__(self, half: bool) -> None:
        self.half, self.nodes, self.weights, self.count = half, [], [], 0

    def name(self) -> str:
        """A new one."""
        self.count += 1
        return f"v{self.count}"

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes):
        """Add a node; returns the name of its output, or a list of them."""
        made = [self.name() for _ in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, made, **attributes))
        return made[0] if outputs == 1 else made

    def constant(self, value) -> str:
        """Whole numbers as int64, others as float32."""
        array = numpy.asarray(value)
        return self.stored(array.astype(numpy.int64 if array.dtype.kind == "i" else numpy.float32))

    def stored(self, array: numpy.ndarray) -> str:
        """An array as it is."""
        self.weights.append(numpy_helper.from_array(numpy.array(array, order="C"), self.name()))
        return self.weights[-1].name

    def weight(self, tensor: Tensor) -> str:
        """A tensor of the network, matrices in 16 bits if it was asked for."""
        array = tensor.detach().float().cpu().numpy()
        if not self.half or array.ndim < 2:
            return self.stored(array)
        scale = numpy.abs(array).max(tuple(range(1, array.ndim)), keepdims=True) / LARGEST
        scale = numpy.where(scale > 0, scale, 1.0).astype(numpy.float32)
        whole = self.stored((array / scale).round().astype(numpy.int16))
        return self.op("Mul", self.op("Cast", whole, to=TensorProto.FLOAT), self.stored(scale))

    def reshape(self, x: str, *shape: int) -> str:
        """0 keeps a size, −1 takes what is left."""
        return self.op("Reshape", x, self.constant(list(shape)))

    def silu(self, x: str) -> str:
        """x σ(x)."""
        return self.op("Mul", x, self.op("Sigmoid", x))

    def linear(self, x: str, layer) -> str:
        """Of the last dimension."""
        return self.op("Add", self.op("MatMul", x, self.weight(layer.weight.T)),
                       self.weight(layer.bias))

    def conv(self, x: str, layer, **attributes) -> str:
        """A convolution with its own padding."""
        pads = [*layer.padding, *layer.padding]
        return self.op("Conv", x, self.weight(layer.weight), self.weight(layer.bias),
                       kernel_shape=list(layer.kernel_size), pads=pads, **attributes)

    def norm(self, x: str, layer: Norm) -> str:
        """Group norm: each group of channels is made one channel, and normalised as an instance."""
        groups, width = layer.num_groups, layer.num_channels
        ones, zeros = self.constant([1.0] * groups), self.constant([0.0] * groups)
        shape = self.op("Shape", x)
        h = self.reshape(x, 0, groups, -1)
        h = self.op("InstanceNormalization", h, ones, zeros, epsilon=layer.eps)
        h = self.op("Reshape", h, shape)
        scale, shift = (self.weight(p.reshape(1, width, 1, 1)) for p in (layer.weight, layer.bias))
        return self.op("Add", self.op("Mul", h, scale), shift)

    def attention(self, x: str, layer: Attention) -> str:
        """Over the pixels, with its residual connection."""
        width = layer.norm.num_channels
        head = width // layer.heads
        tokens = self.op("Transpose", self.reshape(self.norm(x, layer.norm), 0, width, -1),
                         perm=[0, 2, 1])
        qkv = self.reshape(self.linear(tokens, layer.qkv), 0, -1, 3, layer.heads, head)
        q, k, v = (self.reshape(part, 0, -1, layer.heads, head)
                   for part in self.op("Split", qkv, outputs=3, axis=2))
        q = self.op("Transpose", q, perm=[0, 2, 1, 3])
        k = self.op("Transpose", k, perm=[0, 2, 3, 1])
        v = self.op("Transpose", v, perm=[0, 2, 1, 3])
        scores = self.op("Mul", self.op("MatMul", q, k), self.constant(head**-0.5))
        h = self.op("MatMul", self.op("Softmax", scores, axis=-1), v)
        h = self.reshape(self.op("Transpose", h, perm=[0, 2, 1, 3]), 0, -1, width)
        h = self.op("Transpose", self.linear(h, layer.out), perm=[0, 2, 1])
        return self.op("Add", x, self.op("Reshape", h, self.op("Shape", x)))

    def block(self, x: str, time: str, block: Block) -> str:
        """A residual block, with attention if it has any."""
        width = block.norm2.num_channels
        scale, shift = self.op("Split", self.reshape(self.linear(time, block.time), 0, -1, 1, 1),
                               outputs=2, axis=1)
        h = self.norm(self.conv(self.silu(self.norm(x, block.norm1)), block.conv1), block.norm2)
        h = self.op("Add", self.op("Mul", h, self.op("Add", scale, self.constant(1.0))), shift)
        past = x if block.norm1.num_channels == width else self.conv(x, block.skip)
        h = self.op("Add", past, self.conv(self.silu(h), block.conv2))
        return self.attention(h, block.attention) if isinstance(block.attention, Attention) else h

    def time(self, t: str, layer: TimeEmbedding) -> str:
        """(B,) -> (B, width)."""
        angles = self.op("Mul", self.reshape(t, -1, 1), self.constant(layer.waves.cpu().numpy()))
        h = self.op("Concat", self.op("Sin", angles), self.op("Cos", angles), axis=1)
        return self.silu(self.linear(self.silu(self.linear(h, layer.layers[0])), layer.layers[2]))


def unshuffled(network: UNet) -> Tensor:
    """The weights of the first convolution over pixels as they are, with a stride of `patch`.

    To take squares of pixels apart into channels and then to convolve is one convolution with
    larger squares.
    """
    weight, r = network.first.weight, network.patch
    out, _, height, width = weight.shape
    apart = weight.reshape(out, -1, r, r, height, width)  # (…, row and column within a square, …)
    return apart.permute(0, 1, 4, 2, 5, 3).reshape(out, -1, r * height, r * width)


def graph(network: UNet, half: bool = True) -> onnx.ModelProto:
    """The network as an ONNX model.

    Args:
        network: of two classes and one channel, told labels or not, without hints.
        half: store the weights in 16 bits.

    Raises:
        ValueError: a network of another kind.
    """
    if (network.classes, network.image_channels, network.conditions.hints) != (2, 1, 0):
        raise ValueError("only a UNet of binary pixels, one channel and no hints can be written")
    g, r = Graph(half), network.patch
    ink = g.op("Gather", "theta", g.constant(1), axis=4)  # the probability of class 1
    planes = g.op("Sub", g.op("Mul", ink, g.constant(2.0)), g.constant(1.0))
    h = g.op("Conv", planes, g.weight(unshuffled(network)), g.weight(network.first.bias),
             strides=[r, r], pads=[r] * 4)
    time = g.time("t", network.time)
    if network.conditions.label is not None:
        unknown = g.constant(network.conditions.labels)
        known = g.op("Where", g.op("Less", "label", g.constant(0)), unknown, "label")
        table = g.weight(network.conditions.label.weight)
        time = g.op("Add", time, g.op("Gather", table, known, axis=0))
    skips = []
    for level, stage in enumerate(network.down):
        if level > 0:
            h = g.op("AveragePool", h, kernel_shape=[2, 2], strides=[2, 2])
        for block in stage:
            h = g.block(h, time, block)
            skips.append(h)
    for level in reversed(range(len(network.up))):
        for block in network.up[level]:
            h = g.block(g.op("Concat", h, skips.pop(), axis=1), time, block)
        if level > 0:
            h = g.op("Resize", h, "", g.constant([1.0, 1.0, 2.0, 2.0]), mode="nearest",
                     coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    h = g.conv(g.silu(g.norm(h, network.norm)), network.last)
    h = g.op("DepthToSpace", h, blocksize=r, mode="CRD") if r > 1 else h
    raw = g.op("Unsqueeze", g.op("Transpose", h, perm=[0, 2, 3, 1]), g.constant([1]))
    if network.prior_skip:
        raw = g.op("Add", raw, g.op("Log", g.op("Max", "theta", g.constant(1e-12))))
    g.nodes.append(helper.make_node("Identity", [raw], ["raw"]))
    return _model(g, network.conditions.label is not None)


def _model(g: Graph, labels: bool) -> onnx.ModelProto:
    """The graph with its inputs and its output, checked."""
    pixels = ["batch", 1, "height", "width", 2]
    value = helper.make_tensor_value_info
    inputs = [value("theta", TensorProto.FLOAT, pixels), value("t", TensorProto.FLOAT, ["batch"])]
    if labels:
        inputs.append(value("label", TensorProto.INT64, ["batch"]))
    made = helper.make_graph(g.nodes, "UNet", inputs, [value("raw", TensorProto.FLOAT, pixels)],
                             g.weights)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR,
                              producer_name="bfn_core")
    onnx.checker.check_model(model, full_check=True)
    return model


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--name", default="mnist_conditional", help="of the shipped weights")
    parser.add_argument("--float32", action="store_true", help="store weights in 32 bits")
    chosen = parser.parse_args(arguments)
    written = graph(shipped(chosen.name).network, half=not chosen.float32).SerializeToString()
    chosen.file.write_bytes(written)
    print(f"{chosen.file}: {len(written):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
