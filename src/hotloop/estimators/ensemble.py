"""Several models that differ in their seed alone, trained side by side and averaged."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    MetaEstimatorMixin,
    MultiOutputMixin,
    RegressorMixin,
    clone,
    is_classifier,
    is_regressor,
)
from sklearn.utils import check_random_state, get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted, validate_data

from hotloop._checks import check_flag, check_integer
from hotloop.errors import InvalidTypeError, InvalidValueError
from hotloop.estimators._inputs import as_it_was_if_refused
from hotloop.estimators.mlp import MLPClassifier, MLPRegressor

__all__ = ["SeedEnsembleClassifier", "SeedEnsembleRegressor"]

Array = NDArray[Any]


def _has_probabilities(ensemble: Any) -> bool:
    """Whether `predict_proba` is there: with some losses that is known of trained members alone."""
    return hasattr(getattr(ensemble, "estimators_", [ensemble._member()])[0], "predict_proba")


class SeedEnsemble(MetaEstimatorMixin, BaseEstimator, ABC):
    """Base: members that are clones of one estimator, each with a seed of its own."""

    estimators_: list[Any]

    def __init__(
        self, estimator: Any = None, n_estimators: int = 5, *, n_jobs: int | None = None,
        random_state: Any = None,
    ):  # fmt: skip
        self.estimator = estimator
        self.n_estimators = n_estimators
        self.n_jobs = n_jobs
        self.random_state = random_state

    @abstractmethod
    def _member(self) -> Any:
        """The estimator that members are clones of."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train all members, each on all samples.

        Parameters
        ----------
        X : array-like or sparse matrix (n, n_features)
            What the members take.
        y : array-like (n,) or (n, n_outputs)
            What the members take.
        sample_weight : array-like (n,), optional
            Handed to each member.

        Returns
        -------
        self

        Raises
        ------
        InvalidValueError, InvalidTypeError
            If `n_estimators` is no number from 1 on, or the estimator is of the other kind or has no
            `random_state`.
        ValueError, TypeError
            As the members raise them.

        Warns
        -----
        ConvergenceWarning
            As the members do.
        """
        with as_it_was_if_refused(self):
            check_integer(self.n_estimators, "n_estimators", low=1)
            self._check_member()
            validate_data(self, X, skip_check_array=True)  # takes the names down; the members check
            rng = check_random_state(self.random_state)
            members = [self._with_seeds(rng) for _ in range(self.n_estimators)]
            options = {} if sample_weight is None else {"sample_weight": sample_weight}
            self.estimators_ = self._each(_fit, members, X, y, options)
            self._kind: str = type_of_target(y)
            if isinstance(self, ClassifierMixin) and self._kind == "multiclass-multioutput":
                raise InvalidValueError(
                    "y: several columns of classes are not supported; use one ensemble for each"
                )
            return self

    def _check_member(self) -> None:
        """Raise if the members would be no estimators, or of the other kind."""
        member, kind, right = self._member(), "regressor", is_regressor
        if isinstance(self, ClassifierMixin):
            kind, right = "classifier", is_classifier
        if isinstance(member, type) or not hasattr(member, "get_params"):
            raise InvalidTypeError(
                f"estimator: expected a {kind}, such as hl.MLP{kind.capitalize()}(), got {member!r}"
            )
        if not right(member):
            raise InvalidValueError(f"estimator: expected a {kind}, got {member!r}")

    def _with_seeds(self, rng: np.random.RandomState) -> Any:
        """A new member; also the steps of a pipeline get seeds."""
        member = clone(self._member())
        names = [name for name in sorted(member.get_params()) if name.split("__")[-1] == "random_state"]
        if not names:
            raise InvalidValueError(
                f"estimator: {type(member).__name__} has no random_state, so all members would be alike; "
                "use it by itself"
            )
        return member.set_params(**{name: int(rng.randint(np.iinfo(np.int32).max)) for name in names})

    def _each(self, function: Any, members: list[Any], *args: Any) -> list[Any]:
        """``function(member, *args)`` of all; in threads, since training and prediction leave the GIL."""
        jobs = (delayed(function)(member, *args) for member in members)
        return list(Parallel(n_jobs=self.n_jobs, prefer="threads")(jobs))

    def _predictions(self, X: Any, method: str) -> Array:
        """What a method of each member says, (n_estimators, n, …)."""
        check_is_fitted(self)
        return np.stack(self._each(_ask, self.estimators_, method, X))

    def __sklearn_tags__(self) -> Any:
        tags, of_member = super().__sklearn_tags__(), get_tags(self._member())
        tags.input_tags.sparse = of_member.input_tags.sparse
        tags.input_tags.allow_nan = of_member.input_tags.allow_nan
        tags.target_tags.multi_output = of_member.target_tags.multi_output
        if tags.classifier_tags is not None and of_member.classifier_tags is not None:
            tags.classifier_tags.multi_label = of_member.classifier_tags.multi_label
        return tags


def _fit(member: Any, X: Any, y: Any, options: dict[str, Any]) -> Any:
    return member.fit(X, y, **options)


def _ask(member: Any, method: str, X: Any) -> Array:
    return np.asarray(getattr(member, method)(X))


class SeedEnsembleClassifier(ClassifierMixin, SeedEnsemble):
    """Classifiers that differ in their seed alone, trained side by side; their probabilities are averaged.

    Networks from other initial weights err elsewhere, so their mean errs less than each, and its
    probabilities are less sure of themselves.

    Parameters
    ----------
    estimator : classifier, optional
        What to train, of hotloop or any other with a `random_state`; ``MLPClassifier()`` by default. Its
        parameters are there as ``estimator__alpha`` and so on.
    n_estimators : int
        Members.
    n_jobs : int or None
        Members that are trained at a time, by threads of joblib; −1: one for each processor. None: 1, or
        what joblib's context says. Results are the same.
    random_state : int, RandomState or None
        Where the members' seeds come from.

    Attributes
    ----------
    estimators_ : list
        The members.
    classes_ : ndarray of shape (n_classes,)
        The labels.
    n_features_in_, feature_names_in_ : int, ndarray of shape (n_features,)
        Columns of the training data, and their names if they had any.

    Notes
    -----
    Lakshminarayanan, Pritzel & Blundell, "Simple and scalable predictive uncertainty estimation using deep
    ensembles" (2017), section 2.4: all members see all samples, since other seeds alone differ more
    than resampling does.

    Examples
    --------
    >>> import hotloop as hl
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> one = hl.MLPClassifier(solver="lbfgs", max_iter=1000)
    >>> model = hl.SeedEnsembleClassifier(one, n_estimators=3, n_jobs=2, random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.95, len(model.estimators_)
    (True, 3)
    """

    def _member(self) -> Any:
        return MLPClassifier() if self.estimator is None else self.estimator

    @property
    def classes_(self) -> Array:
        """The labels, as the members have them."""
        return np.asarray(self.estimators_[0].classes_)

    @available_if(_has_probabilities)
    def predict_proba(self, X: Any) -> Array:
        """The mean of the members' probabilities.

        Parameters
        ----------
        X : array-like or sparse matrix (n, n_features)

        Returns
        -------
        ndarray (n, n_classes)
            In the order of `classes_`.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If X has another width than in `fit`, or members cannot take it.
        """
        shares = self._predictions(X, "predict_proba").mean(axis=0)
        if shares.ndim != 2:
            raise InvalidValueError(
                f"estimator: {type(self._member()).__name__} returns an array for each label of a sample, "
                "which cannot be averaged; use one ensemble for each label"
            )
        return np.asarray(shares)

    def predict(self, X: Any) -> Array:
        """The labels with the largest mean probability, or most votes, where members have no probabilities.

        Parameters
        ----------
        X : array-like or sparse matrix (n, n_features)

        Returns
        -------
        ndarray (n,) or (n, n_labels)
            Of several labels a sample, 1 for those above a half. Raises as `predict_proba` does.
        """
        check_is_fitted(self)
        if _has_probabilities(self):
            shares = self.predict_proba(X)
        elif self._kind.startswith("multilabel"):
            shares = self._predictions(X, "predict").mean(axis=0)
        else:
            shares = (self._predictions(X, "predict")[..., None] == self.classes_).mean(axis=0)
        if self._kind.startswith("multilabel"):
            return (shares > 0.5).astype(int)
        return self.classes_[shares.argmax(axis=1)]


class SeedEnsembleRegressor(MultiOutputMixin, RegressorMixin, SeedEnsemble):
    """Regressors that differ in their seed alone, trained side by side; their values are averaged.

    Where the members disagree there was little to learn from, which ``predict(X, return_std=True)`` tells.

    Parameters
    ----------
    estimator : regressor, optional
        What to train, of hotloop or any other with a `random_state`; ``MLPRegressor()`` by default. Its
        parameters are there as ``estimator__alpha`` and so on.
    n_estimators : int
        Members.
    n_jobs : int or None
        Members that are trained at a time, by threads of joblib; −1: one for each processor. None: 1, or
        what joblib's context says. Results are the same.
    random_state : int, RandomState or None
        Where the members' seeds come from.

    Attributes
    ----------
    estimators_ : list
        The members.
    n_features_in_, feature_names_in_ : int, ndarray of shape (n_features,)
        Columns of the training data, and their names if they had any.

    Notes
    -----
    Lakshminarayanan, Pritzel & Blundell, "Simple and scalable predictive uncertainty estimation using deep
    ensembles" (2017), section 2.4.

    Examples
    --------
    >>> import hotloop as hl, numpy as np
    >>> X = np.linspace(-1, 1, 50)[:, None]
    >>> one = hl.MLPRegressor(solver="lbfgs", max_iter=500)
    >>> model = hl.SeedEnsembleRegressor(one, n_jobs=2, random_state=0).fit(X, np.sin(3 * X[:, 0]))
    >>> mean, near = model.predict(X, return_std=True)
    >>> _, far = model.predict([[5.0]], return_std=True)
    >>> bool(far[0] > 10 * near.max())
    True
    """

    def _member(self) -> Any:
        return MLPRegressor() if self.estimator is None else self.estimator

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """The mean of the members' values.

        Parameters
        ----------
        X : array-like or sparse matrix (n, n_features)
        return_std : bool, default False
            Also return the standard deviation of the members' values: how far they disagree, not how far
            targets scatter.

        Returns
        -------
        ndarray (n,) or (n, n_outputs), or a pair of them

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If X has another width than in `fit`, or members cannot take it.
        """
        check_flag(return_std, "return_std")
        values = self._predictions(X, "predict")
        mean = values.mean(axis=0)
        return (mean, values.std(axis=0)) if return_std else mean
