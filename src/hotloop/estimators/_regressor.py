"""What the linear regressors share: checked data in, coefficients and predictions out."""

import numbers
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from hotloop._checks import check_weights
from hotloop.errors import InvalidTypeError
from hotloop.estimators._inputs import read

__all__ = ["SPARSE", "LinearRegressor"]

Array = NDArray[Any]
FLOATS = [np.float64, np.float32]
SPARSE = ["csr", "csc", "coo"]


class Checked(NamedTuple):
    """Data as `fit` was given them, checked.

    Attributes
    ----------
    X : array or sparse matrix (n, p)
    Y : ndarray (n, k)
        In the dtype of X if that is a float, else float64.
    weights : ndarray (n,) or None
    flat : bool
        Whether y had shape (n,).
    """

    X: Any
    Y: Array
    weights: Array | None
    flat: bool


class LinearRegressor(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Base of the linear regressors: predictions are X coef_ᵀ + intercept_."""

    def predict(self, X: Any) -> Array:
        """Predict the targets of some rows.

        Parameters
        ----------
        X : array-like or sparse matrix (n, n_features)

        Returns
        -------
        ndarray (n,) or (n, n_targets)
            As the targets in `fit` were. float32 from float32 if that is what `fit` saw.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If X has another width than in `fit`, or is not numeric and finite.
        """
        check_is_fitted(self)
        X = read(self, X, accept_sparse=SPARSE, reset=False)
        return np.asarray(X @ self.coef_.T + self.intercept_)

    def _checked(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        *,
        dtype: Any = FLOATS,
        sparse: Any = SPARSE,
        reset: bool = True,
    ) -> "Checked":
        """Data that kernels and solvers may run on. Nothing of X is copied that has a dtype asked for.

        `sparse` names the forms of a sparse matrix that may stay what they are, or is False for dense X only.
        """
        if issparse(y):
            raise InvalidTypeError("y: sparse targets are not supported; pass y.toarray()")
        X, y = read(
            self, X, y, accept_sparse=sparse, dtype=dtype, multi_output=True,
            y_numeric=True, reset=reset,
        )  # fmt: skip
        of_dtype = X.dtype if X.dtype.kind == "f" else np.dtype(np.float64)
        Y = y.reshape(len(y), -1).astype(of_dtype, copy=False)
        weights = None
        if sample_weight is not None:
            if isinstance(sample_weight, numbers.Number):
                sample_weight = np.full(len(Y), sample_weight)
            weights = check_weights(sample_weight, "sample_weight", len(Y), of_dtype).ravel().astype(of_dtype)
        return Checked(X, Y, weights, y.ndim == 1)

    def _set_coefficients(self, coef: Array, intercept: Array, flat: bool) -> None:
        """From W (p, k) and b (k,) to scikit-learn's shapes."""
        self.coef_ = coef[:, 0].copy() if flat else np.ascontiguousarray(coef.T)
        self.intercept_: Any = 0.0
        if self.fit_intercept:
            self.intercept_ = intercept[0] if flat else intercept
