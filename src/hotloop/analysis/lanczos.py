"""Lanczos' method: what a symmetric matrix looks like from one vector, as a small tridiagonal matrix."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["lanczos", "ritz"]


def lanczos(
    product: Callable[[NDArray[Any]], NDArray[Any]], start: NDArray[Any], n_steps: int
) -> NDArray[np.float64]:
    """T (m, m) = V H Vᵀ, tridiagonal, where the rows of V span start, H start, …, Hᵐ⁻¹ start.

    m is `n_steps`, or less where the vectors span no more. Full reorthogonalisation: every new vector is
    made orthogonal to all before it, which keeps copies of the outer eigenvalues out of T, at the
    price of the memory for V, m size numbers. Golub & Van Loan, *Matrix Computations*, 10.3.
    """
    size = len(start)
    V = np.empty((min(n_steps, size), size))
    T = np.zeros((len(V), len(V)))
    V[0] = start / np.linalg.norm(start)
    for j in range(len(V)):
        w = product(V[j])
        T[j, j] = V[j] @ w
        if j + 1 == len(V):
            break
        known = V[: j + 1]
        for _ in range(2):  # once leaves rounding errors, twice is enough
            w = w - (known @ w) @ known
        length = float(np.linalg.norm(w))
        if length <= 1e-13 * np.abs(T).max():
            return T[: j + 1, : j + 1]  # H maps what V spans into itself: its eigenvalues are exact
        T[j, j + 1] = T[j + 1, j] = length
        V[j + 1] = w / length
    return T


def ritz(T: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Eigenvalues of T, ascending, and the share of the start vector in each; both (m,).

    They are the nodes and weights of Gauss's quadrature: Σ weight f(node) ≈ uᵀ f(H) u for the unit
    start vector u. Golub & Meurant, *Matrices, Moments and Quadrature*, chapter 6.
    """
    nodes, vectors = np.linalg.eigh(T)
    return nodes, vectors[0] ** 2
