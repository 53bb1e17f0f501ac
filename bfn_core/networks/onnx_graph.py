"""A network as an ONNX file, for engines without Python: a browser, say.

The U-Net of binary pixels, inputs `theta` (B, 1, H, W, 2), `t` (B,) and, if it is told labels,
`label` (B,), int64, −1 for not told; and the transformer, inputs `theta` (B, L, K) and `t`. The
output, `raw`, is the network's own, of theta's shape.

The graph is written operator by operator, beside each `forward`, and not traced: it depends on no
exporter's version, has half of the operators that tracing leaves, and a free batch size.

Weights are stored as whole numbers of 8 or 16 bits, a scale to each row, 16 closer than float16 at
the same size; an engine makes float32 of them when it loads the file, and computes in that.
"""

from __future__ import annotations

import math
from typing import Any

import numpy
from torch import Tensor, nn

from bfn_core.networks import onnx_format, transformer
from bfn_core.networks.transformer import Transformer
from bfn_core.networks.unet import Attention, Block, DepthwiseBlock, Norm, TimeEmbedding, UNet

OPSET = 17
IR = 8  # read by every engine since 2022
LARGEST = {8: 127, 16: 32767}


class Graph:
    """Nodes and weights, gathered call by call; a value is known by its name."""

    def __init__(self, bits: int) -> None:
        if bits not in (8, 16, 32):
            raise ValueError(f"bits must be 8, 16 or 32, got {bits!r}")
        self.bits, self.nodes, self.weights, self.count = bits, [], [], 0

    def name(self) -> str:
        """A new one."""
        self.count += 1
        return f"v{self.count}"

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes) -> Any:
        """Add a node; returns the name of its output, or a list of them."""
        made = [self.name() for _ in range(outputs)]
        self.nodes.append(onnx_format.node(kind, inputs, made, **attributes))
        return made[0] if outputs == 1 else made

    def constant(self, value) -> str:
        """Whole numbers as int64, others as float32."""
        array = numpy.asarray(value)
        return self.stored(array.astype(numpy.int64 if array.dtype.kind == "i" else numpy.float32))

    def stored(self, array: numpy.ndarray) -> str:
        """An array as it is."""
        name = self.name()
        self.weights.append(onnx_format.tensor(name, array))
        return name

    def weight(self, tensor: Tensor | None) -> str:
        """A tensor of the network, matrices in as many bits as were asked for."""
        assert tensor is not None
        array = tensor.detach().float().cpu().numpy()
        if self.bits == 32 or array.ndim < 2:
            return self.stored(array)
        scale = numpy.abs(array).max(tuple(range(1, array.ndim)), keepdims=True)
        scale = scale / LARGEST[self.bits]
        scale = numpy.where(scale > 0, scale, 1.0).astype(numpy.float32)
        whole = self.stored((array / scale).round().astype(f"int{self.bits}"))
        return self.op("Mul", self.op("Cast", whole, to=onnx_format.FLOAT), self.stored(scale))

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

    def conv(self, x: str, layer, weight: Tensor | None = None, stride: int = 1,
             padding: int | None = None) -> str:
        """A convolution with its own weights, padding and stride, unless told others."""
        weight = layer.weight if weight is None else weight
        size = weight.shape[2:]
        pads = list(layer.padding) if padding is None else [padding] * len(size)
        # Told in full: WebGPU's kernels take nothing for granted.
        return self.op("Conv", x, self.weight(weight), self.weight(layer.bias),
                       kernel_shape=list(size), pads=[*pads, *pads], group=layer.groups,
                       strides=[stride] * len(size), dilations=[1] * len(size))

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

    def read(self, tokens: str, layer, turns: list[str] | None = None) -> str:
        """What each of (B, L, width) reads from all, through the layer's qkv and out."""
        width = layer.out.out_features
        head = width // layer.heads
        qkv = self.reshape(self.linear(tokens, layer.qkv), 0, -1, 3, layer.heads, head)
        q, k, v = (self.op("Transpose", self.reshape(part, 0, -1, layer.heads, head),
                           perm=[0, 2, 1, 3])
                   for part in self.op("Split", qkv, outputs=3, axis=2))
        if turns is not None:
            q, k = self.turned(q, turns), self.turned(k, turns)
        scores = self.op("MatMul", q, self.op("Transpose", k, perm=[0, 1, 3, 2]))
        scores = self.op("Mul", scores, self.constant(head**-0.5))
        h = self.op("MatMul", self.op("Softmax", scores, axis=-1), v)
        h = self.reshape(self.op("Transpose", h, perm=[0, 2, 1, 3]), 0, -1, width)
        return self.linear(h, layer.out)

    def turned(self, x: str, turns: list[str]) -> str:
        """(B, heads, L, head), each position turned by cosines and sines, (1, 1, L, head) each."""
        cos, sin = turns
        first, second = self.op("Split", x, outputs=2, axis=3)
        across = self.op("Concat", self.op("Neg", second), first, axis=3)
        return self.op("Add", self.op("Mul", x, cos), self.op("Mul", across, sin))

    def attention(self, x: str, layer: Attention) -> str:
        """Over the pixels, with its residual connection."""
        width = layer.norm.num_channels
        tokens = self.op("Transpose", self.reshape(self.norm(x, layer.norm), 0, width, -1),
                         perm=[0, 2, 1])
        h = self.op("Transpose", self.read(tokens, layer), perm=[0, 2, 1])
        return self.op("Add", x, self.op("Reshape", h, self.op("Shape", x)))

    def layer_norm(self, x: str, layer: nn.LayerNorm) -> str:
        """Of the last dimension."""
        return self.op("LayerNormalization", x, self.weight(layer.weight), self.weight(layer.bias),
                       axis=-1, epsilon=layer.eps)

    def gelu(self, x: str) -> str:
        """x Φ(x)."""
        phi = self.op("Erf", self.op("Mul", x, self.constant(math.sqrt(0.5))))
        return self.op("Mul", self.op("Mul", x, self.constant(0.5)),
                       self.op("Add", phi, self.constant(1.0)))

    def layer(self, h: str, block: transformer.Block, turns: list[str] | None) -> str:
        """A block of the transformer: attention, then an MLP at each position."""
        h = self.op("Add", h, self.read(self.layer_norm(h, block.norm1), block, turns))
        inner = self.gelu(self.linear(self.layer_norm(h, block.norm2), block.mlp[0]))
        return self.op("Add", h, self.linear(inner, block.mlp[2]))

    def block(self, x: str, time: str, block: Block | DepthwiseBlock) -> str:
        """A block of the U-Net, with attention if it has any."""
        scale, shift = self.op("Split", self.reshape(self.linear(time, block.time), 0, -1, 1, 1),
                               outputs=2, axis=1)
        past = self.conv(x, block.skip) if isinstance(block.skip, nn.Conv2d) else x
        if isinstance(block, DepthwiseBlock):
            h = self.norm(self.conv(past, block.around), block.norm)
        else:
            h = self.silu(self.norm(x, block.norm1))
            h = self.norm(self.conv(h, block.conv1), block.norm2)
        h = self.op("Add", self.op("Mul", h, self.op("Add", scale, self.constant(1.0))), shift)
        if isinstance(block, DepthwiseBlock):
            h = self.gelu(self.conv(h, block.conv1))
        else:
            h = self.silu(h)
        h = self.op("Add", past, self.conv(h, block.conv2))
        return self.attention(h, block.attention) if isinstance(block.attention, Attention) else h

    def time(self, t: str, layer: TimeEmbedding | transformer.TimeEmbedding) -> str:
        """(B,) -> (B, width), as the layers have it, without what may come behind the second."""
        angles = self.op("Mul", self.reshape(t, -1, 1), self.constant(layer.waves.cpu().numpy()))
        h = self.op("Concat", self.op("Sin", angles), self.op("Cos", angles), axis=1)
        return self.linear(self.silu(self.linear(h, layer.layers[0])), layer.layers[2])


def unshuffled(network: UNet) -> Tensor:
    """The weights of the first convolution over pixels as they are, with a stride of `patch`.

    To take squares of pixels apart into channels and then to convolve is one convolution with
    larger squares.
    """
    weight, r = network.first.weight, network.patch
    out, _, height, width = weight.shape
    apart = weight.reshape(out, -1, r, r, height, width)  # (…, row and column within a square, …)
    return apart.permute(0, 1, 4, 2, 5, 3).reshape(out, -1, r * height, r * width)


def written(network: nn.Module, bits: int = 16) -> bytes:
    """The network as the content of an ONNX file.

    Args:
        network: a UNet of two classes and one channel, told labels or not; or a Transformer; both
            without hints, and the latter without labels and self_conditioning.
        bits: of each number of the weight matrices, 8, 16 or 32.

    Raises:
        ValueError: a network of another kind, or another number of bits.
    """
    if isinstance(network, Transformer):
        return _transformer(network, bits)
    if isinstance(network, UNet):
        return _unet(network, bits)
    raise ValueError(f"only a UNet or a Transformer can be written, got {type(network).__name__}")


def _unet(network: UNet, bits: int) -> bytes:
    """Binary pixels, as UNet.forward has it."""
    if (network.classes, network.image_channels, network.conditions.hints) != (2, 1, 0):
        raise ValueError("only a UNet of binary pixels, one channel and no hints can be written")
    g, r = Graph(bits), network.patch
    ink = g.op("Gather", "theta", g.constant(1), axis=4)  # the probability of class 1
    planes = g.op("Sub", g.op("Mul", ink, g.constant(2.0)), g.constant(1.0))
    h = g.conv(planes, network.first, unshuffled(network), stride=r, padding=r)
    time = g.silu(g.time("t", network.time))
    if network.conditions.label is not None:
        unknown = g.constant(network.conditions.labels)
        known = g.op("Where", g.op("Less", "label", g.constant(0)), unknown, "label")
        table = g.weight(network.conditions.label.weight)
        time = g.op("Add", time, g.op("Gather", table, known, axis=0))
    skips = []
    for level, stage in enumerate(network.down):
        if level > 0:
            h = g.op("AveragePool", h, kernel_shape=[2, 2], strides=[2, 2])
        for block in stage:  # pyright: ignore[reportGeneralTypeIssues]
            h = g.block(h, time, block)
            skips.append(h)
    for level in reversed(range(len(network.up))):
        for block in network.up[level]:  # pyright: ignore[reportGeneralTypeIssues]
            h = g.block(g.op("Concat", h, skips.pop(), axis=1), time, block)
        if level > 0:
            h = g.op("Resize", h, "", g.constant([1.0, 1.0, 2.0, 2.0]), mode="nearest",
                     coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    h = g.conv(g.silu(g.norm(h, network.norm)), network.last)
    h = g.op("DepthToSpace", h, blocksize=r, mode="CRD") if r > 1 else h
    raw = g.op("Unsqueeze", g.op("Transpose", h, perm=[0, 2, 3, 1]), g.constant([1]))
    if network.prior_skip:
        raw = g.op("Add", raw, g.op("Log", g.op("Max", "theta", g.constant(1e-12))))
    sizes = ["batch", 1, "height", "width", 2]
    return _file(g, raw, sizes, network.conditions.label is not None)


def _transformer(network: Transformer, bits: int) -> bytes:
    """Classes side by side, as Transformer.forward has it."""
    if network.conditions.hints or network.conditions.labels or network.embed_guess is not None:
        raise ValueError("only a Transformer without labels, hints and self_conditioning can be "
                         "written")
    g, classes = Graph(bits), network.classes
    root = math.sqrt(classes)
    features = g.op("Sub", g.op("Mul", "theta", g.constant(root)), g.constant(1 / root))
    h = g.op("Transpose", features, perm=[0, 2, 1])
    h = g.conv(h, network.embed)
    h = g.op("Transpose", h, perm=[0, 2, 1])
    h = g.op("Add", h, g.op("Unsqueeze", g.time("t", network.time), g.constant([1])))
    size = g.op("Slice", g.op("Shape", "theta"), g.constant([1]), g.constant([2]))

    def positions(table: Tensor, axis: int) -> str:
        stored = g.constant(table.detach().float().cpu().numpy())
        return g.op("Slice", stored, g.constant([0]), size, g.constant([axis]))

    if network.position is not None:
        h = g.op("Add", h, positions(network.position, 0))
    # As many axes as what they turn, or an engine's optimiser mixes them up (WebGPU, 1.22).
    turns = None if network.turns is None else [positions(table[None, None], 2)
                                                for table in network.turns]
    for block in network.blocks:
        assert isinstance(block, transformer.Block)
        h = g.layer(h, block, turns)
    raw = g.linear(g.layer_norm(h, network.norm), network.head)
    if network.prior_skip:
        raw = g.op("Add", raw, g.op("Log", g.op("Max", "theta", g.constant(1e-12))))
    return _file(g, raw, ["batch", "length", classes], False)


def _file(g: Graph, raw: str, sizes: list[int | str], labels: bool) -> bytes:
    """The graph with its inputs and its output."""
    g.nodes.append(onnx_format.node("Identity", [raw], ["raw"]))
    value, numbers = onnx_format.value, onnx_format.FLOAT
    inputs = [value("theta", numbers, sizes), value("t", numbers, ["batch"])]
    if labels:
        inputs.append(value("label", onnx_format.INT64, ["batch"]))
    return onnx_format.model("network", g.nodes, g.weights, inputs,
                             [value("raw", numbers, sizes)], opset=OPSET, ir=IR)
