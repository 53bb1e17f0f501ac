"""The few parts of ONNX's file format that a network needs, written without the package onnx.

Who reads a notebook need not have that package, and Colab does not bring it. A file is a protocol
buffer: fields, each a number with the kind of what follows, then a whole number or so many bytes.
The numbers stand in onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto); the tests
read what is written here with onnx itself, and with ONNX Runtime.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy

TYPES = {"float32": 1, "int8": 3, "int16": 5, "int64": 7}  # TensorProto.DataType
FLOAT, INT64 = TYPES["float32"], TYPES["int64"]


def whole(value: int) -> bytes:
    """A whole number, 7 bits a byte, the lowest first; a negative one as 64 bits."""
    value &= (1 << 64) - 1
    written = bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    return bytes([*written, value])


def field(number: int, value: int | float | str | bytes) -> bytes:
    """One field: a whole number, a float of 32 bits, a text, or a part that is written already."""
    if isinstance(value, int):
        return whole(number << 3) + whole(value)
    if isinstance(value, float):
        return whole(number << 3 | 5) + struct.pack("<f", value)
    content = value.encode() if isinstance(value, str) else value
    return whole(number << 3 | 2) + whole(len(content)) + content


def fields(number: int, values: Sequence[int | float | str | bytes]) -> bytes:
    """The same field once for each value."""
    return b"".join(field(number, value) for value in values)


def attribute(name: str, value: int | float | str | Sequence[int]) -> bytes:
    """An AttributeProto: a whole number, a number, a text, or whole numbers."""
    if isinstance(value, int):
        content = field(3, value) + field(20, 2)
    elif isinstance(value, float):
        content = field(2, value) + field(20, 1)
    elif isinstance(value, str):
        content = field(4, value) + field(20, 3)
    else:
        content = fields(8, value) + field(20, 7)
    return field(1, name) + content


def node(kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes) -> bytes:
    """A NodeProto: an operator of that kind, between values known by their names."""
    written = [attribute(name, value) for name, value in attributes.items()]
    return fields(1, inputs) + fields(2, outputs) + field(4, kind) + fields(5, written)


def tensor(name: str, array: numpy.ndarray) -> bytes:
    """A TensorProto of one of TYPES, in the order of bytes that ONNX prescribes."""
    content = numpy.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()
    kind = field(2, TYPES[array.dtype.name])
    return fields(1, array.shape) + kind + field(8, name) + field(9, content)


def value(name: str, kind: int, shape: Sequence[int | str]) -> bytes:
    """A ValueInfoProto: a tensor whose sizes are numbers, or names where they are free."""
    sizes = [field(1 if isinstance(size, int) else 2, size) for size in shape]
    return field(1, name) + field(2, field(1, field(1, kind) + field(2, fields(1, sizes))))


def model(
    name: str, nodes: Sequence[bytes], tensors: Sequence[bytes], inputs: Sequence[bytes],
    outputs: Sequence[bytes], *, opset: int, ir: int,
) -> bytes:
    """A whole file, a ModelProto around a GraphProto of that name."""
    graph = (fields(1, nodes) + field(2, name) + fields(5, tensors) + fields(11, inputs)
             + fields(12, outputs))
    return (field(1, ir) + field(2, "bfn_core") + field(7, graph)
            + field(8, field(1, "") + field(2, opset)))
