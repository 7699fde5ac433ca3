"""`MLPClassifier`: classes by a network, with scikit-learn's interface."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if

from hotloop.errors import InvalidValueError
from hotloop.estimators._inputs import read
from hotloop.estimators._mlp_base import HOW_TO_READ, MLP, Task, trains_in_minibatches
from hotloop.estimators._mlp_heads import Labels, labels_of

__all__ = ["MLPClassifier"]

Array = NDArray[Any]


def _has_probabilities(estimator: Any) -> bool:
    """Whether the loss is one of probabilities; before `fit`, by default."""
    return bool(getattr(estimator, "out_activation_", "logistic") != "identity")


class MLPClassifier(ClassifierMixin, MLP):
    """Classes by a multi-layer perceptron: scikit-learn's estimator, and what hotloop has beyond it.

    With scikit-learn's parameters it minimises the same loss from the same initial weights in the same
    order, so in float64 it takes the same steps, up to rounding.

    Parameters
    ----------
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
    loss : str or Loss, optional
        None is the log loss. ``"hinge"``, ``hl.losses.SoftmaxCrossEntropy(label_smoothing=0.1)``, or a
        `Custom` one, whose targets are columns of 0 and 1 and whose outputs count as scores. With several
        labels a sample: ``"log_loss"``, ``"mse"``, ``"mae"``, ``"huber"`` or `Custom`.
    optimizer : Optimizer, optional
        In place of `solver`: any, with any schedule, such as ``hl.AdamW(hl.Cosine(1e-3, epochs=50))``.
    layers : list of layers, optional
        In place of `hidden_layer_sizes` and `activation`: all layers before the last, with initial values of
        their own, for example ``[hl.Standardize(), hl.Dense(64, "relu", penalty=hl.L1(1e-4))]``.
    dropout : float or list of float, optional
        Rate of a dropout after each hidden layer, or one for each.
    batch_normalization : bool
        Whether each hidden layer is normalised before its activation.
    class_weight : dict, "balanced" or None
        {label: factor on the weight of its samples}, or factors that are inverse to the classes' frequencies.
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
    classes_ : ndarray of shape (n_classes,)
        The labels.
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
    networks" (2010), for the initial weights; Kingma & Ba, "Adam: a method for stochastic optimization"
    (2015). ``docs/sklearn-mlp.md`` says where scikit-learn's own tests do not apply.

    Examples
    --------
    >>> import hotloop as hl
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = hl.MLPClassifier(solver="lbfgs", max_iter=1000, random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.95
    True
    >>> model.predict_proba(X[:2]).shape
    (2, 3)
    """

    def __init__(
        self, hidden_layer_sizes: Any = (100,), activation: Any = "relu", *,
        solver: str = "adam", alpha: float = 0.0001, batch_size: Any = "auto",
        learning_rate: str = "constant", learning_rate_init: float = 0.001, power_t: float = 0.5,
        max_iter: int = 200, shuffle: bool = True, random_state: Any = None, tol: float = 1e-4,
        verbose: Any = False, warm_start: bool = False, momentum: float = 0.9,
        nesterovs_momentum: bool = True, early_stopping: bool = False,
        validation_fraction: float = 0.1, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-8,
        n_iter_no_change: Any = 10, max_fun: int = 15000,
        loss: Any = None, optimizer: Any = None, layers: Any = None, dropout: Any = None,
        batch_normalization: bool = False, class_weight: Any = None,
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
        y : array-like (n,) or (n, n_labels)
            Labels of any kind; or, for several labels a sample, columns of 0 and 1.
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
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Any:
        """Train on some samples once, going on from where an earlier call ended.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.
        classes : array-like (n_classes,), optional
            All labels there will ever be; needed by the first call. Of several a sample, the numbers of
            their columns: ``range(n_labels)``.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            As `fit`; also if `classes` is missing at first or differs later, or `y` has others.
        """
        if isinstance(self.class_weight, str):
            raise InvalidValueError(
                "class_weight: 'balanced' needs all samples at once; pass a dict of weights"
            )
        if hasattr(self, "_model"):
            if classes is not None and not np.array_equal(self.classes_, np.unique(classes)):
                raise InvalidValueError(f"classes: {classes!r} are not those of before, {self.classes_!r}")
        elif classes is None:
            raise InvalidValueError("classes: the first call of partial_fit needs all labels there will be")
        self._announced = classes
        try:
            return self._fit(X, y, sample_weight, grows=True)
        finally:
            del self._announced

    def predict(self, X: Any) -> Array:
        """The labels of some samples.

        Parameters
        ----------
        X : array-like or sparse matrix (n, n_features)

        Returns
        -------
        ndarray (n,) or (n, n_labels)
            The most probable label; or, of several a sample, 1 for each that is more probable than not.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If X has another width than in `fit`, or is not numeric and finite.
        """
        outputs = self._outputs(X)
        return self._labels.decide(outputs, self._loss)

    @available_if(_has_probabilities)
    def predict_proba(self, X: Any) -> Array:
        """The probability of each class.

        Parameters
        ----------
        X : array-like or sparse matrix (n, n_features)

        Returns
        -------
        ndarray (n, n_classes)
            In the order of `classes_`; of several labels a sample, of each by itself.

        Raises
        ------
        NotFittedError, ValueError
            As `predict`. It is not there for losses on margins or of your own.
        """
        outputs = self._outputs(X)
        return self._labels.probabilities(outputs, self._loss)

    @available_if(_has_probabilities)
    def predict_log_proba(self, X: Any) -> Array:
        """The logarithms of `predict_proba`, also where that is 0 or 1 by rounding.

        Parameters
        ----------
        X : array-like or sparse matrix (n, n_features)

        Returns
        -------
        ndarray (n, n_classes)

        Raises
        ------
        NotFittedError, ValueError
            As `predict_proba`.
        """
        outputs = self._outputs(X)
        return self._labels.log_probabilities(outputs, self._loss)

    def _read(self, X: Any, y: Any, weights: Any, *, reset: bool, grows: bool) -> Task:
        X, y = read(self, X, y, multi_output=True, reset=reset, **HOW_TO_READ)
        announced = getattr(self, "_announced", None)
        y, labels = labels_of(y, announced if announced is not None else None if reset else self.classes_)
        found = labels.classes if labels.kind == "multilabel" else np.unique(y)
        if reset:
            if announced is not None and not np.array_equal(labels.classes, np.unique(announced)):
                k = len(labels.classes)  # several labels: others are those that were announced
                raise InvalidValueError(
                    f"classes: y has {k} columns of labels, so they are range({k}), got {announced!r}"
                )
            self._settle(labels)
        elif labels.kind != self._labels.kind:
            raise InvalidValueError(f"y: is {labels.kind}, but training began with {self._labels.kind}")
        elif self.warm_start and not grows and set(found) != set(self.classes_):
            raise InvalidValueError(
                "y: warm_start can only be used where `y` has the same classes as in the previous call to "
                f"fit. Previously got {self.classes_}, `y` has {found}"
            )
        else:
            loss = self._labels.loss(self.loss)
            self._go_on_with(loss, self._labels.n_outputs(loss))
            self.out_activation_ = self._labels.out_activation(loss)
        unknown = np.setdiff1d(found, self.classes_)
        if len(unknown):
            raise InvalidValueError(f"y: has classes not in {self.classes_}: {unknown}")
        weights = given = self._weights(weights, len(y))
        if self.class_weight is not None:
            of_class = self._weights_of_classes(y)
            weights = self._weights(of_class if weights is None else of_class * weights, len(y))
        return Task(X, y, self._labels.targets(y, self._loss), weights, given)

    def _weights_of_classes(self, y: Array) -> Array:
        """What `class_weight` makes of each sample, (n,)."""
        every = y[:0]
        if not isinstance(self.class_weight, str):
            # scikit-learn looks for the weights' classes in y, which may lack some: a row more of each.
            several = self._labels.kind == "multilabel"
            every = np.array([[0], [1]]).repeat(y.shape[1], axis=1) if several else self.classes_
        try:
            found = compute_sample_weight(self.class_weight, np.concatenate([y, every]))
        except ValueError as error:
            raise InvalidValueError(f"class_weight: {error}") from error
        return np.asarray(found[: len(y)])

    def _settle(self, labels: Labels) -> None:
        """The classes, and with them loss and outputs."""
        self._labels, self._loss = labels, labels.loss(self.loss)
        self.classes_ = labels.classes
        self.n_outputs_ = labels.n_outputs(self._loss)
        self.out_activation_ = labels.out_activation(self._loss)

    def _stratify(self, task: Task) -> Any:
        return self._labels.indicator(task.y) if self._labels.kind == "binary" else None

    def _score_of(self, task: Task, outputs: Array) -> float:
        right = self._labels.decide(outputs, self._loss) == task.y
        return float(np.average(right.reshape(len(right), -1).all(axis=1), weights=task.given))

    def _report_terms(self, task: Task) -> tuple[float, float]:
        return 1.0, 0.0

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
