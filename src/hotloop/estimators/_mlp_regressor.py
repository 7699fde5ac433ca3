"""`MLPRegressor`: values by a network, with scikit-learn's interface."""

from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils import column_or_1d
from sklearn.utils.metaestimators import available_if

from hotloop._checks import check_number
from hotloop.errors import InvalidValueError
from hotloop.estimators._inputs import read
from hotloop.estimators._mlp_base import HOW_TO_READ, MLP, Task, trains_in_minibatches
from hotloop.estimators._mlp_heads import RegressionHead
from hotloop.losses import GaussianNLL

__all__ = ["MLPRegressor"]

Array = NDArray[Any]


def _learns_variance(estimator: Any) -> bool:
    """Whether `predict_interval` is there."""
    return estimator.loss == "gaussian_nll" or isinstance(estimator.loss, GaussianNLL)


class MLPRegressor(MultiOutputMixin, RegressorMixin, MLP):
    """Values by a multi-layer perceptron: scikit-learn's estimator, and what hotloop has beyond it.

    With scikit-learn's parameters it minimises the same loss from the same initial weights in the same
    order, so in float64 it takes the same steps, up to rounding.

    Parameters
    ----------
    loss : str or Loss
        ``"squared_error"``: ½ (ŷ − y)². ``"poisson"``: half the deviance, on counts, with ŷ = e^output. Or
        any of hotloop's on values: ``"mae"``, ``hl.losses.Huber(2.0)``, a `Custom` one, or
        ``"gaussian_nll"``, which learns a variance for each sample, too.
    hidden_layer_sizes : int or sequence of int
        Units of each hidden layer.
    activation : str or list of str
        Of the hidden layers: "identity", "logistic", "tanh", "relu", or any that `Dense` takes; a list has
        one for each.
    solver : {"adam", "sgd", "lbfgs"}
        How θ is found: minibatches with Adam, or with gradient descent; or L-BFGS on all samples at once,
        in float64.
    alpha : float
        α: each minibatch of n rows adds ½ α ‖W‖² / n to its mean loss.
    batch_size : int or "auto"
        Rows of a minibatch; ``"auto"`` is 200, or all there are if they are fewer.
    learning_rate : {"constant", "invscaling", "adaptive"}
        Of ``solver="sgd"``: constant; ``learning_rate_init / t^power_t`` after t samples, from epoch to
        epoch; or a fifth whenever training would stop, until it is below 1e-6.
    learning_rate_init, power_t : float
        The first rate, and its exponent.
    max_iter : int
        Largest number of epochs, or of L-BFGS's iterations.
    shuffle : bool
        Whether each epoch takes the samples in a new order.
    random_state : int, RandomState or None
        Where initial weights, validation samples, orders and dropout come from.
    tol : float
        What counts as progress of the loss or score; for L-BFGS, how small the gradient must be.
    verbose : bool or int
        Whether to print a line for each iteration.
    warm_start : bool
        Whether `fit` goes on from the weights of the fit before.
    momentum, nesterovs_momentum : float, bool
        Of ``solver="sgd"``; momentum is below 1.
    early_stopping : bool
        Set a share of the samples aside, and stop by the score on them. The best weights are kept.
    validation_fraction : float
        That share.
    beta_1, beta_2, epsilon : float
        Adam's.
    n_iter_no_change : int or inf
        Training stops after more epochs than that without progress.
    max_fun : int
        Largest number of times that L-BFGS evaluates the loss.
    optimizer : Optimizer, optional
        In place of `solver`: any, with any schedule, such as ``hl.AdamW(hl.Cosine(1e-3, epochs=50))``.
    layers : list of layers, optional
        In place of `hidden_layer_sizes` and `activation`: all layers before the last, with initial values of
        their own, for example ``[hl.Standardize(), hl.Dense(64, "relu", penalty=hl.L1(1e-4))]``.
    dropout : float or list of float, optional
        Rate of a dropout after each hidden layer, or one for each.
    batch_normalization : bool
        Whether each hidden layer is normalised before its activation.
    scoring : str or callable, optional
        What early stopping goes by: a scorer of scikit-learn or its name. It turns `early_stopping` on.
    callbacks : Callback or list of Callback, optional
        Called around each epoch; ``"val_loss"`` and ``"val_score"`` are there with validation samples.
    progress : bool
        Whether to show a progress bar on stderr.
    n_threads : int or None
        Threads that share each step, at most: fewer do it where that is quicker. None means one for each
        processor. Results are the same.
    dtype : {"auto", "float32", "float64"}
        Of weights and computation; ``"auto"`` is float32 for float32 samples, else float64.

    Attributes
    ----------
    coefs_, intercepts_ : list of ndarray
        Kernels (fan_in, units) and biases (units,): views into ``model_.theta``.
    model_ : Sequential
        The network itself.
    loss_ : float
        The loss of the last epoch, the penalty with it.
    best_loss_ : float or None
        The least of all epochs; None if scores decided.
    loss_curve_ : list of float
        The loss of each iteration.
    validation_scores_, best_validation_score_ : list of float, float; or None
        The scores on validation samples after each epoch, and the best.
    n_iter_, t_ : int
        Iterations of the last call, and samples seen in all.
    n_layers_, n_outputs_, out_activation_ : int, int, str
        Layers with input and output; outputs; what is applied to the last.
    n_features_in_, feature_names_in_ : int, ndarray of shape (n_features,)
        Columns of the training data, and their names if they had any.

    Notes
    -----
    ``notes/003``; Glorot & Bengio, "Understanding the difficulty of training deep feedforward neural
    networks" (2010), for the initial weights; Nix & Weigend, "Estimating the mean and variance of the
    target probability distribution" (1994), for "gaussian_nll". With several targets the squared errors
    are summed, as in scikit-learn's gradient, and `loss_` is their mean, as in scikit-learn's report.

    Examples
    --------
    >>> import hotloop as hl
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True, scaled=True)
    >>> y = (y - y.mean()) / y.std()
    >>> model = hl.MLPRegressor("gaussian_nll", 32, learning_rate_init=0.01, early_stopping=True)
    >>> low, high = model.set_params(random_state=0).fit(X, y).predict_interval(X, 0.9)
    >>> bool(0.8 < ((low < y) & (y < high)).mean() < 1.0)
    True
    """

    def __init__(
        self, loss: Any = "squared_error", hidden_layer_sizes: Any = (100,), activation: Any = "relu", *,
        solver: str = "adam", alpha: float = 0.0001, batch_size: Any = "auto",
        learning_rate: str = "constant", learning_rate_init: float = 0.001, power_t: float = 0.5,
        max_iter: int = 200, shuffle: bool = True, random_state: Any = None, tol: float = 1e-4,
        verbose: Any = False, warm_start: bool = False, momentum: float = 0.9,
        nesterovs_momentum: bool = True, early_stopping: bool = False,
        validation_fraction: float = 0.1, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-8,
        n_iter_no_change: Any = 10, max_fun: int = 15000,
        optimizer: Any = None, layers: Any = None, dropout: Any = None,
        batch_normalization: bool = False,
        scoring: Any = None, callbacks: Any = None, progress: bool = False,
        n_threads: int | None = 1, dtype: str = "auto",
    ):  # fmt: skip
        self.__dict__.update({name: value for name, value in locals().items() if name != "self"})

    def fit(self, X: Any, y: Any, sample_weight: Any = None, X_val: Any = None, y_val: Any = None) -> Any:
        """Train on samples.

        Parameters
        ----------
        X : array-like or sparse matrix (n, n_features)
            float32 stays float32. Sparse rows become dense a block at a time.
        y : array-like (n,) or (n, n_targets)
        sample_weight : array-like (n,) or float, optional
            What each sample counts, at least 0.
        X_val, y_val : array-like, optional
            Samples for early stopping, in place of some of X's.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If data or parameters are not as described, or the weights overflow.

        Warns
        -----
        ConvergenceWarning
            If `max_iter` or `max_fun` ended training, or an early-stopped one diverged.
        """
        return self._fit(X, y, sample_weight, X_val, y_val)

    @available_if(trains_in_minibatches)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train on some samples once, going on from where an earlier call ended.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            As `fit`.
        """
        return self._fit(X, y, sample_weight, grows=True)

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """The values of some samples.

        Parameters
        ----------
        X : array-like or sparse matrix (n, n_features)
        return_std : bool, default False
            Also return the standard deviation that ``loss="gaussian_nll"`` has learnt.

        Returns
        -------
        ndarray (n,) or (n, n_targets), or a pair of them
            In the dtype of the weights.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If X has another width than in `fit`, or is not numeric and finite; if `return_std` and the
            loss is another.
        """
        outputs = self._outputs(X)
        if return_std:
            return self._head.values(outputs), self._head.deviations(outputs)
        return self._head.values(outputs)

    @available_if(_learns_variance)
    def predict_interval(self, X: Any, confidence: float = 0.95) -> tuple[Array, Array]:
        """Where the targets of some samples lie with a probability, by the Gaussian that was learnt.

        It says how far targets scatter, not how sure the network is of its mean.

        Parameters
        ----------
        X : array-like or sparse matrix (n, n_features)
        confidence : float, default 0.95
            The probability, above 0 and below 1.

        Returns
        -------
        (ndarray, ndarray)
            Lower and upper ends, (n,) or (n, n_targets) each.

        Raises
        ------
        NotFittedError, ValueError
            As `predict`; also if the confidence is not such a number.
        """
        check_number(confidence, "confidence", low=1e-12, below=1.0)
        mean, deviation = self.predict(X, return_std=True)
        reach = NormalDist().inv_cdf((1 + confidence) / 2) * deviation
        return mean - reach, mean + reach

    def _read(self, X: Any, y: Any, weights: Any, *, reset: bool, grows: bool) -> Task:
        X, y = read(self, X, y, multi_output=True, y_numeric=True, reset=reset, **HOW_TO_READ)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        targets = y.reshape(len(y), -1)
        if not reset and targets.shape[1] != self.n_outputs_:
            raise InvalidValueError(
                f"y: has {targets.shape[1]} targets, but training began with {self.n_outputs_}"
            )
        head = RegressionHead.of(self.loss, targets.shape[1])
        if not reset:
            self._go_on_with(head.loss, head.n_outputs)
        self._head, self._loss, self.n_outputs_ = head, head.loss, targets.shape[1]
        self.out_activation_ = head.out_activation
        weights = self._weights(weights, len(y))
        return Task(X, y, targets, weights, weights)

    def _n_units(self) -> int:
        return self._head.n_outputs

    def _stratify(self, task: Task) -> Any:
        return None

    def _score_of(self, task: Task, outputs: Array) -> float:
        with np.errstate(all="ignore"):  # on the way to a divergence
            return float(r2_score(task.y, self._head.values(outputs), sample_weight=task.given))

    def _report_terms(self, task: Task) -> tuple[float, float]:
        return self._head.factor, self._head.shift(task.targets, task.weights)
