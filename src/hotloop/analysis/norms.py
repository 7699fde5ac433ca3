"""How large the weights are, by each of the norms of ``notes/002``."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop.errors import InvalidTypeError
from hotloop.sequential import Sequential

__all__ = ["Norms", "norms"]


@dataclass(frozen=True, repr=False)
class Norms:
    """Norms of one array; a vector counts as a matrix of one column.

    The first four look at the entries wᵢ alone, whatever the shape: `l1` and `linf` are not the norms
    that matrices get from vectors (largest sum of a column, of a row). The others are norms of a
    matrix with singular values σᵢ.

    Attributes
    ----------
    l0 : int
        Entries other than 0: no norm, strictly, but called so.
    l1, l2, linf : float
        Σ|wᵢ|, √Σwᵢ² and max |wᵢ|.
    frobenius : float
        √Σσᵢ², which is `l2` under its name for matrices.
    nuclear : float
        Σσᵢ.
    spectral : float
        max σᵢ: how many times longer the matrix can make a vector.

    Examples
    --------
    >>> import hotloop as hl
    >>> model = hl.Sequential([hl.Dense(2, kernel_init="ones")], input_dim=3)
    >>> hl.norms(model)["dense_0/kernel"].l1
    6.0
    """

    l0: int
    l1: float
    l2: float
    linf: float
    frobenius: float
    nuclear: float
    spectral: float

    def __repr__(self) -> str:
        values = ((f.name, getattr(self, f.name)) for f in fields(self))
        return "Norms(" + ", ".join(f"{n}={v if n == 'l0' else format(v, '.4g')}" for n, v in values) + ")"


def norms(model: Sequential) -> dict[str, Norms]:
    """Norms of each kernel, bias, … of a model, in float64.

    Parameters
    ----------
    model : Sequential
        Its weights as they are now.

    Returns
    -------
    dict of str to Norms
        By the names of ``model.parameters()``. Where weights are not finite, the norms that sum them
        up are not either, and the nuclear and spectral norms are NaN.

    Raises
    ------
    InvalidTypeError
        If `model` is no `Sequential`.

    Notes
    -----
    ``notes/002``, norms and regularisation. The nuclear and spectral norms take a singular value
    decomposition: for a kernel (m, n) time grows as m n min(m, n).

    Examples
    --------
    >>> import hotloop as hl
    >>> model = hl.Sequential([hl.Dense(2, kernel_init="ones")], input_dim=3)
    >>> hl.norms(model)["dense_0/kernel"]
    Norms(l0=6, l1=6, l2=2.449, linf=1, frobenius=2.449, nuclear=2.449, spectral=2.449)
    """
    if not isinstance(model, Sequential):
        raise InvalidTypeError(f"model: expected a hotloop.Sequential, got {model!r}")
    return {name: _norms(values.astype(np.float64)) for name, values in model.parameters().items()}


def _norms(W: NDArray[Any]) -> Norms:
    """Norms of W, (n,) or (m, n)."""
    largest = float(np.abs(W).max())
    # In units of the largest entry, whose square might not be a finite number.
    unit = largest if 0.0 < largest < np.inf else 1.0
    scaled = W / unit
    l2 = unit * float(np.sqrt(np.sum(scaled**2)))
    if W.ndim == 1:
        nuclear = spectral = l2
    elif not np.isfinite(largest):
        nuclear = spectral = float("nan")
    else:
        singular = np.linalg.svd(scaled, compute_uv=False)
        nuclear, spectral = unit * float(singular.sum()), unit * float(singular[0])
    return Norms(
        l0=int(np.count_nonzero(W)),
        l1=unit * float(np.abs(scaled).sum()),
        l2=l2,
        linf=largest,
        frobenius=l2,
        nuclear=nuclear,
        spectral=spectral,
    )
