"""The layer table: a network as rows of integers that the compiled loop interprets.

A layer contributes one or more operations, a row each. θ is laid out by walking over the rows; so
are the values that each row keeps a sample. `Net` is the table bound to a batch size and a team,
together with the memory it works in: what a kernel gets.
"""

import hashlib
import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hotloop.activations import RELU
from hotloop.engine.address import NOWHERE
from hotloop.engine.amx import amx_scratch, halves_of, passes_of
from hotloop.engine.cuts import cuts_by_cost, is_worth_a_relay
from hotloop.engine.matmul import MOST_TERMS, direct_scratch, panel_size
from hotloop.engine.memory import aligned_zeros, padded
from hotloop.penalties import HAS_GRADIENT, HAS_LIMIT, PROXIMAL, PenaltyTerm

__all__ = [
    "BATCH_NORM",
    "DENSE",
    "DROPOUT",
    "ELEMENTWISE",
    "PREDICTION",
    "PRELU",
    "SOFTMAX",
    "STANDARDIZE",
    "Buffer",
    "Mode",
    "Net",
    "Operation",
    "Parameter",
    "bind",
    "buffer_offsets",
    "mask_seed",
    "rate_groups",
    "theta_offsets",
]

# Operation codes (append-only).
DENSE = 0
ELEMENTWISE = 1
SOFTMAX = 2
PRELU = 3
BATCH_NORM = 4
DROPOUT = 5
STANDARDIZE = 6

IN_PLACE = (ELEMENTWISE, SOFTMAX, BATCH_NORM, DROPOUT)
"""They turn ∂L/∂outputs into ∂L/∂inputs in place, so the row before shares their delta."""

# Columns of the table.
OP = 0  # operation code
CODE = 1  # of an ELEMENTWISE row: the activation
N_IN = 2
N_OUT = 3
WEIGHT = 4  # offset into θ of the (N_IN, N_OUT) kernel, or of the N_OUT scales or slopes, or NONE
BIAS = 5  # offset into θ of the N_OUT biases, or NONE
VALUE = 6  # offset into work of the (batch, N_OUT) outputs of this row
DELTA = 7  # offset into work of ∂L/∂outputs, same shape
RUNNING = 8  # offset into the running statistics: N_OUT means, then N_OUT variances or deviations
COLUMN = 9  # offset into work of the COLUMN_VECTORS numbers of each output
GROUP = 10  # which of the optimizer's learning rates its parameters have
PENALTY = 11  # code of the penalty on its kernel
PARTIAL = 12  # offset into the sums over single rows of kernels
ON_UNIT = 13  # 1 where the products of a DENSE row are those of `engine.amx`
PRODUCT = 14  # the address of a kernel that takes the products of a DENSE row if it can, or NOWHERE
SINGLE = 15  # 1 where SINGLE_STEP steps on the kernel of a DENSE row
COLUMNS = 16
NONE = -1

# Vectors of N_OUT numbers at COLUMN.
MEAN, INVERSE, DELTA_SUM, PRODUCT_SUM = 0, 1, 2, 3
COLUMN_VECTORS = 4

# Columns of the options: of a layer, then of its penalty.
EPS, MOMENTUM = 0, 1  # of BATCH_NORM
RATE = 0  # of DROPOUT
L1_STRENGTH, L2_STRENGTH = 2, 3
LIMIT = 2  # of a penalty that is a limit: how many weights, or which norm
ROWS = 4  # of the minibatch that the strengths are for; 0 for any
OPTIONS = 5

# Which kernel beside those of the loop: of `engine.operations`, of `single`, `gather` and `relay`, of
# `penalise` and `clip`, of `direct`.
FORWARD, BACKWARD, ACTIVATE, ACTIVATE_BACKWARD = range(4)
SINGLE_FORWARD, SINGLE_STEP, SINGLE_AHEAD, CONVERT, RELAY = range(4, 9)
PENALISE, SHRINK, LIMITS, SUM_SQUARES, NORM, CLIP = range(9, 15)
DIRECT_PRODUCT, DIRECT_GRADIENT = range(15, 17)
CALLS = 17

COLUMN_GRAIN = 64
"""Columns in a thread's grain: whole cache lines, whatever the dtype."""

# What there is a number of for each row of the kernels: two sums, and, in a batch of one, where inputs are
# not 0 (whole numbers, the first ones of a thread's rows).
PENALTY_SUMS, SQUARES, PLACES = 0, 1, 2


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
        return math.prod(self.shape)


@dataclass(frozen=True)
class Buffer:
    """A named part of the running statistics: what a model learns without a gradient."""

    name: str
    size: int
    initial: float


@dataclass(frozen=True)
class Operation:
    """One row of the table, before it knows its offsets."""

    op: int
    n_in: int
    n_out: int
    code: int = 0
    weight: Parameter | None = None
    bias: Parameter | None = None
    buffers: tuple[Buffer, ...] = ()
    options: tuple[float, ...] = ()
    penalty: PenaltyTerm | None = None
    """On the kernel of a DENSE row; None for that of the whole model."""
    lr_scale: float = 1.0

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Its parts of θ, in their order."""
        return tuple(p for p in (self.weight, self.bias) if p is not None)


class Net(NamedTuple):
    """The table bound to a batch size and a team, and its memory: what kernels interpret."""

    table: NDArray[np.int64]  # (operations, COLUMNS)
    options: NDArray[np.float64]  # (operations, OPTIONS)
    running: NDArray[Any]  # running statistics, flat, of the dtype of θ
    work: NDArray[Any]  # values, deltas, zeros, panels: of the dtype of θ
    row_loss: NDArray[np.float64]  # (capacity,) loss of each row of the batch
    row_hit: NDArray[np.float64]  # (capacity,) 1 where the class is right
    partial: NDArray[np.float64]  # (3, rows of all kernels) PENALTY_SUMS, SQUARES of the gradient, PLACES
    calls: NDArray[np.int64]  # (CALLS,) addresses of kernels, or NOWHERE
    first: int  # the first row of the table that has parameters
    zeros: int  # offset into work of as many zeros as the widest row
    panels: int  # offset into work of the threads' panels
    panel_size: int  # numbers in one thread's panel
    inputs: int  # offset into work of the inputs of a minibatch whose rows are copied
    direct: int  # rows of the table that need no copy (`engine.direct`): 0, 1, 2 with a ReLU
    relays: int  # rows of the table that are a relay of several threads (`engine.relay`): 0, 1, 2 with a ReLU
    cuts: NDArray[np.int64]  # (threads + 1, threads + 1) for n threads in row n, where their inputs begin
    penalised: int  # 1 where a kernel has a penalty with a gradient
    limited: int  # 1 where a kernel has a limit to keep after each step
    alike: int  # 1 where all of θ has one rate, and no proximal step


class Mode(NamedTuple):
    """How the network runs: as in training, and then in which step, or as in prediction."""

    training: int  # 1: batch statistics, and dropout
    seed: int
    step: int
    before: int  # rows of the minibatch that came before these
    begun: int = 0  # so many rows of the table have their outputs already


PREDICTION = Mode(0, 0, 0, 0)


def mask_seed(seed: int) -> int:
    """A seed of any size as the kernels take it: itself below 2⁶³, else hashed."""
    if not seed >> 63:
        return seed
    data = seed.to_bytes(seed.bit_length() // 8 + 1, "little")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little") >> 1


def theta_offsets(operations: list[Operation]) -> list[tuple[Parameter, int]]:
    """Every parameter with its offset into θ, in order: the one source of offsets."""
    offsets, size = [], 0
    for operation in operations:
        for parameter in operation.parameters:
            offsets.append((parameter, size))
            size += parameter.size
    return offsets


def buffer_offsets(operations: list[Operation]) -> list[tuple[Buffer, int]]:
    """Every buffer with its offset into the running statistics, in order."""
    offsets, size = [], 0
    for operation in operations:
        for buffer in operation.buffers:
            offsets.append((buffer, size))
            size += buffer.size
    return offsets


def rate_groups(operations: list[Operation]) -> list[float]:
    """The distinct factors of the learning rate, in order of appearance; 1 first."""
    return list(dict.fromkeys([1.0, *(operation.lr_scale for operation in operations)]))


def rows_of_relay(operations: list[Operation], capacity: int, n_threads: int, on_unit: bool) -> int:
    """How many rows of the table are a relay: a dense one, and the ReLU after it, or none."""
    first = operations[0]
    if on_unit:
        worth = n_threads == 2 and passes_of(first.n_in) == 2
    else:
        worth = first.op == DENSE and is_worth_a_relay(first.n_in, first.n_out, capacity, n_threads)
    if not worth:
        return 0
    # A minibatch of one row has a form of its own (`engine.single`), without the ReLU.
    return rows_with_relu(operations) if capacity > 1 else 1


def rows_with_relu(operations: list[Operation]) -> int:
    """How many rows of the table a product makes that is the first: 2 where a ReLU is after it, else 1."""
    return 2 if [(o.op, o.code) for o in operations[1:2]] == [(ELEMENTWISE, RELU)] else 1


class _Room:
    """Counts out the places in `Net.work`."""

    def __init__(self, dtype: np.dtype[Any]):
        self.dtype, self.size = dtype, 0

    def take(self, numbers: int) -> int:
        """Where the next so many numbers are."""
        first, self.size = self.size, self.size + padded(int(numbers), self.dtype)
        return first


def _describe(
    operations: list[Operation], penalty: PenaltyTerm | None, on_unit: Collection[int]
) -> tuple[NDArray[np.int64], NDArray[np.float64], list[int]]:
    """What of a `Net`'s `table` and `options` no minibatch changes, and the codes of all penalties."""
    offset_of = {id(parameter): offset for parameter, offset in theta_offsets(operations)}
    running_offset_of = {id(buffer): offset for buffer, offset in buffer_offsets(operations)}
    groups = rate_groups(operations)
    table = np.full((len(operations), COLUMNS), NONE, np.int64)
    options, terms, kernel_rows = np.zeros((len(operations), OPTIONS)), [], 0
    for k, (row, numbers, operation) in enumerate(zip(table, options, operations, strict=True)):
        row[ON_UNIT], row[PRODUCT], row[SINGLE] = k in on_unit, NOWHERE, 0
        row[OP], row[CODE] = operation.op, operation.code
        row[N_IN], row[N_OUT] = operation.n_in, operation.n_out
        if operation.weight is not None:
            row[WEIGHT] = offset_of[id(operation.weight)]
        if operation.bias is not None:
            row[BIAS] = offset_of[id(operation.bias)]
        if operation.buffers:
            row[RUNNING] = running_offset_of[id(operation.buffers[0])]
        row[GROUP] = groups.index(operation.lr_scale)
        numbers[: len(operation.options)] = operation.options
        term = operation.penalty or penalty
        if operation.op == DENSE:
            row[PARTIAL], kernel_rows = kernel_rows, kernel_rows + operation.n_in
            frozen = operation.lr_scale == 0 and term is not None and term.code in HAS_LIMIT
            if term is not None and not frozen:
                row[PENALTY], numbers[LIMIT:] = term.code, (*term.options, term.rows)
                terms.append(term.code)
    return table, options, terms


def bind(
    operations: list[Operation], capacity: int, n_threads: int, dtype: np.dtype[Any],
    running: NDArray[Any], penalty: PenaltyTerm | None = None, gathers: bool = False,
    on_unit: Collection[int] = (), direct: bool = False,
) -> Net:  # fmt: skip
    """The `Net` for batches of up to `capacity` rows; `penalty` is on kernels that name none.

    With `gathers` it has room for the inputs of a minibatch, unless they are read where they lie: `direct`.
    The products of the rows `on_unit` are those of `engine.amx`.
    """
    table, options, terms = _describe(operations, penalty, on_unit)
    room, n_in = _Room(dtype), operations[0].n_in
    for row in table:
        row[VALUE], row[COLUMN] = room.take(capacity * row[N_OUT]), room.take(COLUMN_VECTORS * row[N_OUT])
    for k in reversed(range(len(operations))):
        if k + 1 < len(operations) and operations[k + 1].op in IN_PLACE:
            table[k, DELTA] = table[k + 1, DELTA]
        else:
            table[k, DELTA] = room.take(capacity * operations[k].n_out)
    rows, cols = int(table[:, N_IN].max()), int(table[:, N_OUT].max())
    zeros = room.take(max(rows, cols))
    most, spread = max(rows, cols, capacity), min(capacity, MOST_TERMS) * rows
    scratch = max(panel_size(most, cols, spread), amx_scratch(most, most) if on_unit else 0)
    if direct:
        scratch = max(scratch, direct_scratch(n_in, capacity))
    scratch = padded(scratch, dtype)
    panels = room.take(n_threads * scratch)
    relays = rows_of_relay(operations, capacity, n_threads, 0 in on_unit) if gathers else 0
    copies = 0 if direct or not gathers else n_threads if relays else 1
    inputs = room.take(copies * capacity * n_in)
    trained = [k for k, operation in enumerate(operations) if operation.parameters]
    cuts = cuts_by_cost(np.ones(n_in), n_threads if relays else 0)
    if relays and 0 in on_unit:  # of two threads
        cuts[2] = halves_of(n_in)
    return Net(
        table=table,
        options=options,
        running=running,
        work=aligned_zeros(room.size, dtype),
        row_loss=np.zeros(capacity),
        row_hit=np.zeros(capacity),
        partial=np.zeros((3, int(table[table[:, OP] == DENSE, N_IN].sum()))),
        calls=np.full(CALLS, NOWHERE, np.int64),
        first=trained[0] if trained else len(operations),
        zeros=zeros,
        panels=panels,
        panel_size=scratch,
        inputs=inputs,
        direct=rows_with_relu(operations) if direct else 0,
        relays=relays,
        cuts=cuts,
        penalised=int(any(code in HAS_GRADIENT for code in terms)),
        limited=int(any(code in HAS_LIMIT for code in terms)),
        alike=int(len(rate_groups(operations)) == 1 and PROXIMAL not in terms),
    )
