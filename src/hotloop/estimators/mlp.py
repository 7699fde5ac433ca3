"""Multi-layer perceptrons with scikit-learn's interface: the import line is all that changes."""

from hotloop.estimators._mlp_classifier import MLPClassifier
from hotloop.estimators._mlp_regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
