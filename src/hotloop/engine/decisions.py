"""From the outputs of a network for classes to probabilities and decisions."""

import numpy as np

from hotloop._jit import kernel
from hotloop.activations import softmax_rows
from hotloop.engine.mathfun import sigmoid

__all__ = ["ONE_OF_MANY", "ONE_OF_TWO", "SEVERAL", "class_probabilities", "winners"]

ONE_OF_MANY, ONE_OF_TWO, SEVERAL = 0, 1, 2
"""What outputs are logits of: each of the classes; the second of two; each of some independent labels."""


@kernel
def class_probabilities(kind, outputs, out):
    """out (n, classes): the probabilities that `outputs` (n, 1 for one of two, else classes) stand for."""
    z, p = outputs.reshape(outputs.size), out.reshape(out.size)
    if kind == ONE_OF_MANY:
        softmax_rows(z, p, out.shape[1])
    elif kind == ONE_OF_TWO:
        for i in range(len(z)):
            # Not 1 − p: where p is near 1, that has few digits.
            p[2 * i], p[2 * i + 1] = sigmoid(-z[i]), sigmoid(z[i])
    else:
        for i in range(len(z)):
            p[i] = sigmoid(z[i])


@kernel
def winners(outputs, middle, out):
    """out[i]: the first largest column of row i; of a single column, 1 if it is above `middle`, else 0."""
    width = outputs.shape[1]
    z = outputs.reshape(outputs.size)
    for i in range(len(out)):
        if width == 1:
            out[i] = np.int64(z[i] > middle)
            continue
        row = z[i * width : (i + 1) * width]
        best = 0
        for j in range(1, width):
            best = j if row[j] > row[best] else best
        out[i] = best
