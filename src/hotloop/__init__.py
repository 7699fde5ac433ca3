"""hotloop: dense neural networks, trained on the CPU in explicit, compiled loops.

>>> import hotloop as hl
>>> model = hl.Sequential([hl.Dense(128, "relu"), hl.Dense(10)], input_dim=784)
>>> trainer = hl.Trainer(model, loss="softmax_cross_entropy", optimizer=hl.Adam(1e-3))
"""

from hotloop import data, initializers
from hotloop.analysis.derivatives import GradientCheck, check_gradient
from hotloop.callbacks import Callback, EarlyStopping
from hotloop.errors import HotloopError
from hotloop.history import History
from hotloop.layers import Dense
from hotloop.objective import Objective
from hotloop.optimizers import SGD, Adam
from hotloop.sequential import Sequential
from hotloop.trainer import Trainer

__all__ = [
    "SGD",
    "Adam",
    "Callback",
    "Dense",
    "EarlyStopping",
    "GradientCheck",
    "History",
    "HotloopError",
    "Objective",
    "Sequential",
    "Trainer",
    "check_gradient",
    "data",
    "initializers",
]

__version__ = "0.1.0"
