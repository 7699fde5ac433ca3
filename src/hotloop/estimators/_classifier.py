"""What linear classifiers with probabilities share: from coefficients to predictions."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import expit, log_expit, log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from hotloop.estimators._inputs import HOW_TO_READ, read

__all__ = ["LinearClassifier"]

Array = NDArray[Any]


class LinearClassifier(ClassifierMixin, BaseEstimator):
    """Base: logits are X coef_ᵀ + intercept_, one for two classes."""

    classes_: Array
    coef_: Any
    intercept_: Array

    def decision_function(self, X: Any) -> Array:
        """Logits.

        Parameters
        ----------
        X : array-like or sparse matrix (n, n_features)

        Returns
        -------
        ndarray (n,) or (n, n_classes)
            Two classes: above 0 for the second. More: a logit for each.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If X has another width than in `fit`, or is not numeric and finite.
        """
        check_is_fitted(self)
        X = read(self, X, reset=False, **HOW_TO_READ)
        product = X @ self.coef_.T
        scores = np.asarray(product.toarray() if sparse.issparse(product) else product) + self.intercept_
        return scores[:, 0] if scores.shape[1] == 1 else scores

    def predict(self, X: Any) -> Array:
        """The most probable labels.

        Parameters
        ----------
        X : array-like or sparse matrix (n, n_features)

        Returns
        -------
        ndarray (n,)
            Raises as `decision_function` does.
        """
        scores = self.decision_function(X)
        best: Array = scores.argmax(axis=1) if scores.ndim == 2 else (scores > 0).astype(np.intp)
        return np.asarray(self.classes_[best])

    def predict_proba(self, X: Any) -> Array:
        """The probability of each class.

        Parameters
        ----------
        X : array-like or sparse matrix (n, n_features)

        Returns
        -------
        ndarray (n, n_classes)
            In the order of `classes_`. Raises as `decision_function` does.
        """
        scores = self.decision_function(X)
        if scores.ndim == 1:
            return np.column_stack([expit(-scores), expit(scores)])
        return np.asarray(softmax(scores, axis=1))

    def predict_log_proba(self, X: Any) -> Array:
        """The logarithms of the probabilities: finite also where a probability rounds to 0.

        Parameters
        ----------
        X : array-like or sparse matrix (n, n_features)

        Returns
        -------
        ndarray (n, n_classes)
            In the order of `classes_`. Raises as `decision_function` does.
        """
        scores = self.decision_function(X)
        if scores.ndim == 1:
            return np.column_stack([log_expit(-scores), log_expit(scores)])
        return np.asarray(log_softmax(scores, axis=1))

    def sparsify(self) -> "LinearClassifier":
        """Keep `coef_` as a CSR matrix from now on: less memory, if L1 has left few numbers."""
        check_is_fitted(self)
        self.coef_ = sparse.csr_matrix(self.coef_)
        return self

    def densify(self) -> "LinearClassifier":
        """Keep `coef_` as an array again."""
        check_is_fitted(self)
        if sparse.issparse(self.coef_):
            self.coef_ = self.coef_.toarray()
        return self
