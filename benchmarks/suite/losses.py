"""The losses of a batch, and the functions behind them and behind activations: ns, and next to NumPy.

==========================  =========================================================================
one loss                    its kernel in `losses/`: a loop over samples or outputs vectorises no more
all losses, few outputs     what `losses_of_rows` costs before any arithmetic
one function, one dtype     its polynomial in `engine/float32.py` or `engine/float64.py`, or its loop
==========================  =========================================================================
"""

import numpy as np
from numba import njit

from hotloop.engine.mathfun import exp, expm1, log, log1p, sigmoid, softplus, tanh
from hotloop.losses import LOSSES, criterion_of, losses_of_rows

from .common import fastest

ROWS, TIMES = 256, 20
CASES = {
    "softmax, 3 classes": ("softmax_cross_entropy", 3),
    "softmax, 10 classes": ("softmax_cross_entropy", 10),
    "sigmoid, 1 output": ("sigmoid_cross_entropy", 1),
    "mse, 1 output": ("mse", 1),
    "huber, 1 output": ("huber", 1),
}
FUNCTIONS = {"exp": exp, "expm1": expm1, "log": log, "log1p": log1p, "tanh": tanh}
OTHERS = {"sigmoid": sigmoid, "softplus": softplus}


@njit(nogil=True)
def _repeat(times, criterion, outputs, targets, weights, delta, losses, hits):
    for _ in range(times):
        losses_of_rows(criterion, outputs, targets, weights, 1.0, delta, losses, hits)


def _loop(function):
    @njit(nogil=True, error_model="numpy")
    def each(x, out):
        for i in range(len(x)):
            out[i] = function(x[i])

    return each


class Losses:
    """Loss, hit and gradient of 256 rows, as a step asks for them."""

    params = (list(CASES), ["float32", "float64"])
    param_names = ("loss", "dtype")

    def setup(self, name, dtype):
        loss, n_out = CASES[name]
        rng = np.random.default_rng(0)
        outputs = rng.standard_normal(ROWS * n_out).astype(dtype)
        targets = rng.integers(0, max(n_out, 2), (ROWS, 1)).astype(dtype)
        weights, (losses, hits) = np.ones(ROWS, dtype), np.empty((2, ROWS))
        criterion = criterion_of(LOSSES[loss], outputs.dtype)
        self.arguments = criterion, outputs, targets, weights, np.empty_like(outputs), losses, hits
        _repeat(1, *self.arguments)

    def track_nanoseconds_a_row(self, name, dtype):
        """Of all three."""
        seconds = fastest(lambda: _repeat(TIMES, *self.arguments), seconds=0.1)[0]
        return 1e9 * seconds / (TIMES * ROWS)

    track_nanoseconds_a_row.unit = "ns"


class Functions:
    """A function of 4,096 numbers in the first cache, from 1 to 2 for `log`, from 0 to 1 for the others."""

    params = ([*FUNCTIONS, *OTHERS], ["float32", "float64"])
    param_names = ("function", "dtype")

    def setup(self, name, dtype):
        self.x = np.linspace(0, 1, 4096).astype(dtype) + (name == "log")
        self.out = np.empty_like(self.x)
        self.ours = _loop((FUNCTIONS | OTHERS)[name])
        self.ours(self.x, self.out)

    def track_nanoseconds_a_number(self, name, dtype):
        """In a loop that should vectorise."""
        return 1e9 * fastest(lambda: self.ours(self.x, self.out), seconds=0.05)[0] / len(self.x)

    track_nanoseconds_a_number.unit = "ns"

    def track_time_against_numpy(self, name, dtype):
        """NumPy's own, of those that it has, in turn in the same run."""
        if name not in FUNCTIONS:
            return float("nan")
        theirs = getattr(np, name)
        ours, other = fastest(
            lambda: self.ours(self.x, self.out), lambda: theirs(self.x, out=self.out), seconds=0.05
        )
        return ours / other

    track_time_against_numpy.unit = "of NumPy's time"
