"""The layer table: a network as rows of integers that the compiled loop interprets.

A layer contributes one or more operations, a row each. θ is laid out by walking over the rows; so
are the values that each row keeps a sample. `Net` is the table bound to a batch size and a team,
together with the memory it works in: what a kernel gets.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hotloop.engine.tile import PANEL_COLUMNS

__all__ = ["DENSE", "ELEMENTWISE", "Net", "Operation", "Parameter", "aligned_zeros", "bind", "theta_offsets"]

# Operation codes (append-only).
DENSE = 0
ELEMENTWISE = 1

# Columns of the table.
OP = 0  # operation code
CODE = 1  # of an ELEMENTWISE row: the activation
N_IN = 2
N_OUT = 3
KERNEL = 4  # offset into θ of the (N_IN, N_OUT) kernel
BIAS = 5  # offset into θ of the N_OUT biases, or NONE
VALUE = 6  # offset into work of the (batch, N_OUT) outputs of this row
DELTA = 7  # offset into work of ∂L/∂outputs, same shape
COLUMNS = 8
NONE = -1

LINE = 64  # bytes of a cache line: what θ, its state and the workspace are aligned to


@dataclass(frozen=True)
class Parameter:
    """A named part of θ: its name, its shape, and how its first values are drawn.

    `init` is what `hotloop.initializers` takes; `fans` are the inputs and outputs of the layer.
    """

    name: str
    shape: tuple[int, ...]
    init: Any
    fans: tuple[int, int]

    @property
    def size(self) -> int:
        """How many numbers of θ it takes."""
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True)
class Operation:
    """One row of the table, before it knows its offsets."""

    op: int
    n_in: int
    n_out: int
    code: int = 0
    kernel: Parameter | None = None
    bias: Parameter | None = None


class Net(NamedTuple):
    """The table bound to a batch size and a team, and its memory: what kernels interpret."""

    table: NDArray[np.int64]  # (operations, COLUMNS)
    work: NDArray[Any]  # values, deltas, zeros, panels: of the dtype of θ
    row_loss: NDArray[np.float64]  # (capacity,) loss of each row of the batch
    row_hit: NDArray[np.float64]  # (capacity,) 1 where the class is right
    zeros: int  # offset into work of as many zeros as the widest row
    panels: int  # offset into work of the threads' panels
    panel_size: int  # numbers in one thread's panel


def theta_offsets(operations: list[Operation]) -> list[tuple[Parameter, int]]:
    """Every parameter with its offset into θ, in order: the one source of offsets."""
    offsets, size = [], 0
    for operation in operations:
        for parameter in (operation.kernel, operation.bias):
            if parameter is not None:
                offsets.append((parameter, size))
                size += parameter.size
    return offsets


def bind(operations: list[Operation], capacity: int, n_threads: int, dtype: np.dtype[Any]) -> Net:
    """The `Net` for batches of up to `capacity` rows."""
    offset_of = {id(parameter): offset for parameter, offset in theta_offsets(operations)}
    table = np.full((len(operations), COLUMNS), NONE, np.int64)
    size = 0
    for row, operation in zip(table, operations, strict=True):
        row[OP], row[CODE] = operation.op, operation.code
        row[N_IN], row[N_OUT] = operation.n_in, operation.n_out
        if operation.kernel is not None:
            row[KERNEL] = offset_of[id(operation.kernel)]
        if operation.bias is not None:
            row[BIAS] = offset_of[id(operation.bias)]
        row[VALUE], size = size, size + _padded(capacity * operation.n_out, dtype)
    # An elementwise row multiplies its delta in place, so the row before it shares that delta.
    for k in reversed(range(len(operations))):
        if k + 1 < len(operations) and operations[k + 1].op == ELEMENTWISE:
            table[k, DELTA] = table[k + 1, DELTA]
        else:
            table[k, DELTA], size = size, size + _padded(capacity * operations[k].n_out, dtype)
    widest = max(max(operation.n_in, operation.n_out) for operation in operations)
    zeros, size = size, size + _padded(widest, dtype)
    # Only the product with a transposed kernel needs a panel, and not in the first row.
    inner = max((operation.n_out for operation in operations[1:] if operation.op == DENSE), default=0)
    panel_size = _padded(inner * PANEL_COLUMNS, dtype)
    panels, size = size, size + n_threads * panel_size
    return Net(
        table=table,
        work=aligned_zeros(size, dtype),
        row_loss=np.zeros(capacity),
        row_hit=np.zeros(capacity),
        zeros=zeros,
        panels=panels,
        panel_size=panel_size,
    )


def _padded(n: int, dtype: np.dtype[Any]) -> int:
    """`n` rounded up to whole cache lines."""
    per_line = LINE // dtype.itemsize
    return -(-n // per_line) * per_line


def aligned_zeros(n: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """`n` zeros, the first at the start of a cache line: vector loads then never straddle two."""
    raw = np.zeros(n * dtype.itemsize + LINE, np.uint8)
    start = -raw.ctypes.data % LINE
    return raw[start : start + n * dtype.itemsize].view(dtype)
