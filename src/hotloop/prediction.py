"""From rows to outputs: any number of them block by block, a few by the shortest way, one at once.

Where an array is just as kernels take it, the kernel does what is left of the checks: a small network takes
less time than they do, and much data then comes from memory once.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hotloop.data.staging import BLOCK_BYTES, Rows, in_place, stage_rows
from hotloop.engine.loop import predict_block
from hotloop.engine.table import PREDICTION
from hotloop.engine.team import Team, check_threads, sync_zeros
from hotloop.errors import InvalidTypeError, InvalidValueError

if TYPE_CHECKING:
    from hotloop.sequential import Sequential

__all__ = ["BATCH", "outputs_as_given", "outputs_of", "predictor"]

BATCH = 256
"""Rows that go through the network at once."""
ROWS_A_THREAD = 64
"""Fewer rows than this are not worth a thread of their own."""
# Arguments of the kernel.
ALONE = 0, 1, sync_zeros(1)
"""The crew of one thread: it waits for nobody."""
PREDICTING = tuple(PREDICTION)
"""The mode: a named tuple would cost a call more than a small network does."""


def outputs_as_given(model: "Sequential", X: Any, n_threads: int | None) -> NDArray[Any] | None:
    """Outputs (n, output_dim), if `X` is an array just as kernels take it, and finite.

    With None for `n_threads`, one thread takes a batch, and as many as there are processors take more.
    """
    if type(X) is not np.ndarray or X.ndim != 2 or X.dtype != model.dtype or not X.flags.carray:
        return None
    n, width = X.shape
    if width != model.input_dim or n == 0:
        return None
    if n > BATCH or (n_threads not in (None, 1) and n > ROWS_A_THREAD):
        out, finite = _outputs_of_blocks(model, X, check_threads(n_threads), checks=True)
    else:
        out, batch = np.empty((n, model.output_dim), model.dtype), _batch_for(n)
        net = model.net_of_thread(batch, 1)
        finite = predict_block(net, model.theta, X, batch, PREDICTING, True, out, *ALONE)
    return out if finite else None


def outputs_of(model: "Sequential", features: NDArray[Any] | Rows, n_threads: int) -> NDArray[Any]:
    """Outputs (n, output_dim) for checked rows."""
    return _outputs_of_blocks(model, features, n_threads, checks=False)[0]


def _outputs_of_blocks(
    model: "Sequential", features: NDArray[Any] | Rows, n_threads: int, *, checks: bool
) -> tuple[NDArray[Any], bool]:
    """Outputs block by block, of rows as they lie, or staged; if it `checks`, whether they are finite."""
    n = len(features)
    n_threads = min(n_threads, -(-n // ROWS_A_THREAD))
    out, finite = np.empty((n, model.output_dim), model.dtype), True
    net = model.net_of_thread(BATCH, n_threads)
    rows = min(n, max(BATCH, BLOCK_BYTES // (model.input_dim * model.dtype.itemsize)))
    there = in_place(features, model.dtype)
    block = np.empty((rows if there is None else 0, model.input_dim), model.dtype)
    with Team(n_threads) as team:
        for first in range(0, n, rows):
            which = slice(first, min(first + rows, n))
            if there is None:
                x = block[: which.stop - first]
                stage_rows(features, which, x, model.uint8_scale)
            else:
                x = there[which]
            arguments = (net, model.theta, x, BATCH, PREDICTING, checks, out[which])
            finite = finite and all(team.run_each(predict_block, *arguments))
    return out, finite


def predictor(model: "Sequential", rows: int) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """`Sequential.predictor`."""
    shape, dtype, theta, net_of = (rows, model.input_dim), model.dtype, model.theta, model.net_of_thread
    out_shape, batch = (rows, model.output_dim), _batch_for(rows)

    def predict(x: NDArray[Any]) -> NDArray[Any]:
        """Outputs (rows, output_dim) of rows `x`, an array just as `Sequential.predictor` says."""
        # What would be a wild read, or another compilation, is looked at; the numbers are not.
        if type(x) is not np.ndarray or x.shape != shape or x.dtype != dtype or not x.flags.carray:
            raise _not_bound_for(x, shape, dtype)
        out = np.empty(out_shape, dtype)
        predict_block(net_of(batch, 1), theta, x, batch, PREDICTING, False, out, *ALONE)
        return out

    predict(np.zeros(shape, dtype))  # compiles
    return predict


def _batch_for(rows: int) -> int:
    """How many rows the network's memory is for: one of two sizes, so that a thread keeps what it has."""
    return 1 if rows == 1 else BATCH


def _not_bound_for(x: Any, shape: tuple[int, int], dtype: np.dtype[Any]) -> Exception:
    wanted = f"x: expected a C-contiguous, writable {dtype} array of shape {shape}"
    if not isinstance(x, np.ndarray):
        return InvalidTypeError(f"{wanted}, got {type(x).__name__}; use model.predict for other input")
    return InvalidValueError(
        f"{wanted}, got {x.dtype} of shape {x.shape}; "
        "use np.ascontiguousarray, or model.predict for other input"
    )
