"""Derivatives of a network's outputs, by its inputs or by θ: the Jacobian, and its products."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop._checks import check_choice, check_values, check_vector
from hotloop.data.staging import check_rows, stage_rows
from hotloop.engine.jacobian import jacobian_block, jvp_block, vjp_block
from hotloop.engine.table import Net
from hotloop.engine.tangent import bind_tangents
from hotloop.engine.team import sync_zeros
from hotloop.errors import InvalidTypeError
from hotloop.sequential import Sequential

__all__ = ["jacobian", "jvp", "vjp"]

BATCH = 256
"""Rows that go through the network at once."""


def jacobian(model: Sequential, X: Any, *, wrt: str = "inputs") -> NDArray[Any]:
    """The Jacobian of ``model.predict`` at each row of X.

    Parameters
    ----------
    model : Sequential
        The network, as it predicts: running statistics, no dropout.
    X : array-like (n, input_dim)
        As in `Sequential.predict`; of uint8 rows, the inputs are the numbers times ``uint8_scale``.
    wrt : {"inputs", "theta"}
        By what to differentiate.

    Returns
    -------
    ndarray (n, output_dim, input_dim) or (n, output_dim, θ.size)
        ∂outputs/∂inputs or ∂outputs/∂θ of each row, in the model's dtype. At a kink, the derivative is
        that of the side that training takes; that of "step" is 0.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If an argument is not as described.

    Notes
    -----
    ``notes/002``, the Jacobian and its two shapes. One pass forward, and one back for each output.

    Examples
    --------
    >>> import hotloop as hl
    >>> model = hl.Sequential([hl.Dense(1, use_bias=False)], input_dim=2, dtype="float64")
    >>> model.theta[:] = [3.0, 4.0]
    >>> hl.jacobian(model, [[1.0, 2.0]]).tolist(), hl.jacobian(model, [[1.0, 2.0]], wrt="theta").tolist()
    ([[[3.0, 4.0]]], [[[1.0, 2.0]]])
    """
    net, x = _bound(model, X, wrt)
    numbers = model.input_dim if wrt == "inputs" else model.theta.size
    out = np.zeros((len(x), model.output_dim, numbers), model.dtype)
    jacobian_block(net, x.reshape(-1), model.theta, wrt == "inputs", out, BATCH, 0, 1, _alone())
    return out


def jvp(model: Sequential, X: Any, v: Any, *, wrt: str = "inputs") -> NDArray[Any]:
    """Jv: how the outputs of each row of X move where the inputs, or θ, move along v.

    Parameters
    ----------
    model : Sequential
        As in `jacobian`.
    X : array-like (n, input_dim)
        As in `jacobian`.
    v : array-like (n, input_dim), or (θ.size,) where wrt is "theta"
        A direction for each row, or one for θ.
    wrt : {"inputs", "theta"}
        By what to differentiate.

    Returns
    -------
    ndarray (n, output_dim)
        The products, for about the price of two predictions: the Jacobian is never formed.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If an argument is not as described.

    Notes
    -----
    ``notes/002``, directional derivatives; forward mode, the R-operator of Pearlmutter (1994).

    Examples
    --------
    >>> import hotloop as hl
    >>> model = hl.Sequential([hl.Dense(1, use_bias=False)], input_dim=2, dtype="float64")
    >>> model.theta[:] = [3.0, 4.0]
    >>> hl.jvp(model, [[1.0, 2.0]], [[1.0, 1.0]])
    array([[7.]])
    """
    net, x = _bound(model, X, wrt)
    d_theta, dx = np.zeros_like(model.theta), np.zeros_like(x)
    if wrt == "inputs":
        dx = _rows(v, "v", len(x), model.input_dim, model, f"the model has {model.input_dim} inputs")
    else:
        d_theta[:] = check_vector(v, "v", model.theta.size, model.dtype)
    out = np.empty((len(x), model.output_dim), model.dtype)
    arguments = (x.reshape(-1), dx.reshape(-1), model.theta, d_theta, out.reshape(-1))
    jvp_block(net, bind_tangents(net, 1), *arguments, BATCH, 0, 1, _alone())
    return out


def vjp(model: Sequential, X: Any, u: Any, *, wrt: str = "inputs") -> NDArray[Any]:
    """uᵀJ: the gradient of Σ u · outputs by the inputs, or by θ.

    Parameters
    ----------
    model : Sequential
        As in `jacobian`.
    X : array-like (n, input_dim)
        As in `jacobian`.
    u : array-like (n, output_dim)
        What multiplies the outputs of each row.
    wrt : {"inputs", "theta"}
        By what to differentiate.

    Returns
    -------
    ndarray (n, input_dim) or (θ.size,)
        A product for each row, or their sum over the rows, for the price of a gradient.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If an argument is not as described.

    Notes
    -----
    ``notes/002``, the vector-Jacobian product: the backward pass is one.

    Examples
    --------
    >>> import hotloop as hl
    >>> model = hl.Sequential([hl.Dense(1, use_bias=False)], input_dim=2, dtype="float64")
    >>> model.theta[:] = [3.0, 4.0]
    >>> hl.vjp(model, [[1.0, 2.0], [5.0, 6.0]], [1.0, 10.0], wrt="theta")
    array([51., 62.])
    """
    net, x = _bound(model, X, wrt)
    u = _rows(u, "u", len(x), model.output_dim, model, f"the model has {model.output_dim} outputs")
    out = np.zeros_like(x if wrt == "inputs" else model.theta)
    arguments = (x.reshape(-1), u.reshape(-1), model.theta, wrt == "inputs", out.reshape(-1))
    vjp_block(net, *arguments, BATCH, 0, 1, _alone())
    return out


def _bound(model: Sequential, X: Any, wrt: str) -> tuple[Net, NDArray[Any]]:
    """The network's memory for what `wrt` asks, and the rows as it takes them."""
    if not isinstance(model, Sequential):
        raise InvalidTypeError(f"model: expected a hotloop.Sequential, got {model!r}")
    features = check_rows(X, "X", model.input_dim, model.dtype)
    by_inputs = check_choice(wrt, "wrt", ("inputs", "theta")) == "inputs"
    x = np.empty((len(features), model.input_dim), model.dtype)
    stage_rows(features, slice(0, len(x)), x, model.uint8_scale)
    capacity = min(BATCH, len(x))
    return (model.bind_inputs(capacity) if by_inputs else model.bind(capacity, 1)), x


def _rows(values: Any, name: str, n: int, width: int, model: Sequential, why: str) -> NDArray[Any]:
    found = check_values(values, name, n, width, model.dtype, why=why)
    return np.ascontiguousarray(found, model.dtype)


def _alone() -> NDArray[np.int64]:
    """The barrier of one thread."""
    return sync_zeros(1)
