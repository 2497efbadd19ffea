"""A small writer of ONNX models: just enough of the format to build an inference graph from numpy weights.

The ``onnx`` package is not needed for it, so a robot installs only the runtime. Field numbers are those of ``onnx.proto``
(https://github.com/onnx/onnx/blob/main/onnx/onnx.proto, ModelProto, GraphProto, NodeProto, AttributeProto, TensorProto);
the encoding is protobuf's (https://protobuf.dev/programming-guides/encoding/).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

IR_VERSION = 9
OPSET = 20  # the first with Gelu; LayerNormalization is older. Any ONNX Runtime from 1.18 on runs it
FLOAT, INT64 = 1, 7  # TensorProto.DataType
_DATA_TYPES = {"float32": FLOAT, "int64": INT64}
_FLOAT, _INT, _STRING, _INTS = 1, 2, 3, 7  # AttributeProto.AttributeType

Attribute = int | float | str | Sequence[int]
Constant = np.ndarray | Sequence[int] | float


class OnnxGraph:
    """Nodes, constants, inputs and outputs in the order in which they are added; values are known by name.

    ``constants``: float32 and int64 arrays by name.
    """

    def __init__(self) -> None:
        self._nodes: list[bytes] = []
        self.constants: dict[str, np.ndarray] = {}
        self._inputs: list[bytes] = []
        self._outputs: list[bytes] = []
        self._count = 0

    def input(self, name: str, shape: Sequence[int | str], dtype: str = "float32") -> str:
        """Declare an input, float32 or int64; a dimension given as text may have any size. Returns the name."""
        self._inputs.append(_value_info(name, shape, dtype))
        return name

    def output(self, value: str, name: str) -> None:
        """Make ``value`` an output called ``name``."""
        self._node("Identity", [value], [name], "", {})
        self._outputs.append(_value_info(name, None))

    def expose(self, value: str) -> str:
        """Make ``value`` an output under the name that it has, without the copy that `output` takes where it is used further."""
        self._outputs.append(_value_info(value, None))
        return value

    def constant(self, array: Constant) -> str:
        """A constant of the graph: float32, or int64 for whole numbers. Returns its name."""
        values = np.ascontiguousarray(array)
        values = values.astype(np.int64 if values.dtype.kind in "iu" else np.float32, copy=False)
        self._count += 1
        name = f"c{self._count}"
        self.constants[name] = values
        return name

    def op(self, op_type: str, *inputs: str | Constant, **attributes: Attribute) -> str:
        """Append an operation with one output and return that output's name. Arrays and numbers become constants."""
        names = [value if isinstance(value, str) else self.constant(value) for value in inputs]
        self._count += 1
        output = f"v{self._count}"
        self._node(op_type, names, [output], "", attributes)
        return output

    def largest(self, value: str, count: int) -> str:
        """The ``count`` largest numbers along the last axis, in descending order."""
        self._count += 1
        output, place = f"v{self._count}", f"i{self._count}"
        self._node("TopK", [value, self.constant([count])], [output, place], "", {"axis": -1})
        return output

    def split(self, value: str, *sizes: int, axis: int) -> list[str]:
        """Parts of the ``sizes`` along an axis."""
        names = []
        for _ in sizes:
            self._count += 1
            names.append(f"v{self._count}")
        self._node("Split", [value, self.constant(sizes)], names, "", {"axis": axis})
        return names

    def reshape(self, value: str, *shape: int) -> str:
        """Reshape to ``shape``; -1 stands for what is left."""
        return self.op("Reshape", value, np.array(shape, np.int64))

    def serialize(self) -> bytes:
        """The model as the bytes of a ModelProto."""
        graph = b"".join(_bytes(1, node) for node in self._nodes)
        graph += _bytes(2, b"sentryfuse")
        graph += b"".join(_bytes(5, _tensor(name, values)) for name, values in self.constants.items())
        graph += b"".join(_bytes(11, value) for value in self._inputs)
        graph += b"".join(_bytes(12, value) for value in self._outputs)
        return _varint_field(1, IR_VERSION) + _bytes(8, _varint_field(2, OPSET)) + _bytes(7, graph)

    def _node(
        self, op_type: str, inputs: Sequence[str], outputs: Sequence[str], domain: str, attributes: dict[str, Attribute]
    ) -> None:
        message = b"".join(_bytes(1, name.encode()) for name in inputs)
        message += b"".join(_bytes(2, name.encode()) for name in outputs)
        message += _bytes(4, op_type.encode())
        message += b"".join(_bytes(5, _attribute(name, value)) for name, value in attributes.items())
        self._nodes.append(message + (_bytes(7, domain.encode()) if domain else b""))


def _varint(number: int) -> bytes:
    number &= (1 << 64) - 1  # negative numbers are written as their two's complement
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _varint_field(field: int, number: int) -> bytes:
    return _varint(field << 3) + _varint(number)


def _bytes(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _float_field(field: int, number: float) -> bytes:
    return _varint(field << 3 | 5) + struct.pack("<f", number)


def _attribute(name: str, value: Attribute) -> bytes:
    head = _bytes(1, name.encode())
    if isinstance(value, float):
        return head + _float_field(2, value) + _varint_field(20, _FLOAT)
    if isinstance(value, int):
        return head + _varint_field(3, value) + _varint_field(20, _INT)
    if isinstance(value, str):
        return head + _bytes(4, value.encode()) + _varint_field(20, _STRING)
    return head + b"".join(_varint_field(8, number) for number in value) + _varint_field(20, _INTS)


def _tensor(name: str, values: np.ndarray) -> bytes:
    message = b"".join(_varint_field(1, size) for size in values.shape)
    message += _varint_field(2, _DATA_TYPES[values.dtype.name]) + _bytes(8, name.encode())
    return message + _bytes(9, values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes())


def _value_info(name: str, shape: Sequence[int | str] | None, dtype: str = "float32") -> bytes:
    tensor_type = _varint_field(1, _DATA_TYPES[dtype])
    if shape is not None:
        sizes = (_varint_field(1, n) if isinstance(n, int) else _bytes(2, n.encode()) for n in shape)
        tensor_type += _bytes(2, b"".join(_bytes(1, size) for size in sizes))
    return _bytes(1, name.encode()) + _bytes(2, _bytes(1, tensor_type))
