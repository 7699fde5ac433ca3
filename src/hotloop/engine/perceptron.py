"""The perceptron: one sample at a time, and the weights move only by a mistake.

``notes/003``, section 2.2, in its augmented form: the bias is the last weight, on a constant input.
`weights` has shape (rows, features + 1): one row where labels are −1 and 1, and a row a class in the
multi-class perceptron, whose labels are rows. A label's *lead* is how far it is ahead: y (w·x + b), or
its score less that of its best rival. A lead of 0 is a mistake, as in the notes, so weights that start
at 0 learn.

The weights are float64 whatever the data is: they are few and stay in the cache, while the data
streams by. So float32 data makes the very mistakes that it would make as float64.

Large float64 data is bound by memory. A float32 copy, half the bytes, can decide most samples within a proven
bound on its rounding; but a mistake still reads the sample itself, out of order, and one of eight is one on
the benchmark's data: 10 and 50 epochs in order took a fifth longer with the copy than without.
"""

from typing import Any, NamedTuple

import numpy as np

from hotloop._jit import kernel, kernel_inline
from hotloop.engine.fetch import STRIP, fetch

__all__ = [
    "SEEN",
    "STATE_SIZE",
    "Samples",
    "count_errors",
    "epoch",
    "fill_pocket",
    "greatest_length",
    "score_all",
    "smallest_lead",
    "start_pocket",
]

# What an epoch leaves to the next, in `state`.
SEEN = 0  # samples so far
RUN = 1  # right answers since the last mistake
POCKET_RUN = 2  # the same for the weights in the pocket, when they went in
POCKET_ERRORS = 3  # what they get wrong of all samples, weighted
STATE_SIZE = 4

NONE = -1
"""No row to fetch."""
ROWS_AHEAD = 2
"""Samples from one whose row is fetched to it: the sums of one are shorter than the memory's delay."""


class Samples(NamedTuple):
    """Augmented samples, dense or sparse; `values.ndim` tells which, when a kernel is compiled."""

    values: Any
    """A dense matrix, (n, features); or the data of a CSR matrix, (nonzeros,)."""
    indices: Any
    """None; or the column of each value."""
    starts: Any
    """None; or where each row begins in `values`, shape (n + 1,)."""
    constant: float
    """The input that the bias is a weight on: 1, or 0 for no bias."""


@kernel
def epoch(mistakes, weights, drift, pocket, state, samples, labels, steps, order, active):
    """Go through `samples` in `order` and learn from each mistake, as `visit` does.

    Several separators learn side by side, so that a sample is fetched once for all: of `weights`
    (separators, rows, features + 1), `drift`, `pocket`, `state` (separators, 4) and `labels`
    (separators, n), those whose numbers are in `active`. mistakes (separators,) ← how many each made.
    """
    for m in active:
        mistakes[m] = 0
    for k in range(len(order)):
        i = order[k]
        upcoming = order[k + ROWS_AHEAD] if k + ROWS_AHEAD < len(order) else NONE
        if steps[i] != 0:
            for m in active:
                mistakes[m] += visit(
                    weights[m], drift[m], pocket[m], state[m], samples, labels[m], steps, i, upcoming
                )
                upcoming = NONE  # once is enough


@kernel_inline  # here and below: a tenth of an epoch
def visit(weights, drift, pocket, state, samples, labels, steps, i, upcoming):
    """Look at sample `i`; a mistake moves the weights. Returns 1 if it was one. `upcoming` is fetched.

    labels (n,): −1 or 1, or the row of the class. steps (n,): how far a mistake moves the weights; 0
    leaves a sample out. Rosenblatt, "The perceptron" (1958).

    `drift` and `pocket` have the shape of `weights`, or no rows where they are not wanted. The mean
    of the weights after each sample is weights − drift / state[SEEN]: a change after s samples is
    missing from s of them (Freund & Schapire, "Large margin classification using the perceptron
    algorithm", 1999). The pocket holds the best weights so far, see `fill_pocket`.
    """
    rival, lead = find_lead(weights, samples, i, labels[i], upcoming)
    mistake = not lead > 0  # NaN is one: overflow is no success
    if mistake:
        if len(pocket) > 0 and state[RUN] > state[POCKET_RUN]:
            fill_pocket(pocket, state, weights, samples, labels, steps)
        state[RUN] = 0
        learn(weights, samples, i, labels[i], rival, steps[i])
        if len(drift) > 0:
            learn(drift, samples, i, labels[i], rival, steps[i] * state[SEEN])
    else:
        state[RUN] += 1
    state[SEEN] += 1
    return int(mistake)


@kernel_inline
def find_lead(weights, samples, i, label, upcoming):
    """(the best rival of `label` or −1, the lead of `label` over it). Row `upcoming` is fetched."""
    if len(weights) == 1:
        return -1, label * score(weights[0], samples, i, upcoming)
    rival, best = -1, -1.0
    for k in range(len(weights)):
        if k != label:
            found = score(weights[k], samples, i, NONE)
            if rival < 0 or found > best:
                rival, best = k, found
    return rival, score(weights[label], samples, i, upcoming) - best


@kernel
def learn(weights, samples, i, label, rival, step):
    """w ← w + step · label · x; with several classes, towards x for `label` and away from it for `rival`."""
    if len(weights) == 1:
        add(weights[0], samples, i, label * step)
    else:
        add(weights[label], samples, i, step)
        add(weights[rival], samples, i, -step)


@kernel_inline
def score(w, samples, i, upcoming):
    """w·x + b for sample `i`. Row `upcoming` is fetched."""
    values, indices, starts, constant = samples
    return dot(w, values, indices, starts, i, upcoming) + w[len(w) - 1] * constant


@kernel_inline
def dot(w, values, indices, starts, i, upcoming):
    """w·x over the features alone; where rows are dense, row `upcoming` is fetched meanwhile."""
    total = 0.0
    if values.ndim == 2:
        row, width = values[i], values.shape[1]
        for lo in range(0, width, STRIP):
            x = row[lo : lo + STRIP]
            if upcoming != NONE:
                fetch(values, upcoming * width + lo)
            part = w[lo : lo + len(x)]
            for j in range(len(x)):
                total += part[j] * x[j]
    else:
        for k in range(starts[i], starts[i + 1]):
            total += w[indices[k]] * values[k]
    return total


@kernel
def add(w, samples, i, step):
    """(w, b) ← (w, b) + step · (x, constant) for sample `i`."""
    values, indices, starts, constant = samples
    add_features(w, values, indices, starts, i, step)
    w[len(w) - 1] += step * constant


@kernel
def add_features(w, values, indices, starts, i, step):
    """w ← w + step · x."""
    if values.ndim == 2:
        row = values[i]
        for j in range(len(row)):
            w[j] += step * row[j]
    else:
        for k in range(starts[i], starts[i + 1]):
            w[indices[k]] += step * values[k]


@kernel
def start_pocket(pocket, state, samples, labels, steps):
    """Judge the weights that `pocket` begins with."""
    state[RUN] = state[POCKET_RUN] = 0
    state[POCKET_ERRORS] = count_errors(pocket, samples, labels, steps, float("inf"))


@kernel
def fill_pocket(pocket, state, weights, samples, labels, steps):
    """pocket ← weights, if they get less wrong of all samples than what is in it.

    Gallant, "Perceptron-based learning algorithms" (1990): the pocket algorithm with ratchet. Counting
    costs a pass over the data, so `epoch` asks only for weights with a longer run of right answers.
    """
    errors = count_errors(weights, samples, labels, steps, state[POCKET_ERRORS])
    if errors < state[POCKET_ERRORS]:
        for k in range(len(pocket)):
            to, source = pocket[k], weights[k]
            for j in range(len(to)):
                to[j] = source[j]
        state[POCKET_RUN] = state[RUN]
        state[POCKET_ERRORS] = errors


@kernel
def count_errors(weights, samples, labels, steps, enough):
    """The sum of the steps of all samples that `weights` get wrong; stops once it is `enough`."""
    errors = 0.0
    for i in range(len(labels)):
        _, lead = find_lead(weights, samples, i, labels[i], NONE)
        if not lead > 0:
            errors += steps[i]
            if errors >= enough:
                break
    return errors


@kernel
def score_all(out, weights, samples):
    """out (n, rows) ← the score of every sample for every row of `weights`."""
    for i in range(len(out)):
        for k in range(len(weights)):
            out[i, k] = score(weights[k], samples, i, NONE)


@kernel
def smallest_lead(out, weights, samples, labels, steps):
    """out (2,) ← the smallest lead and the smallest step · lead; stops at the first mistake, with 0."""
    out[0] = out[1] = float("inf")
    for i in range(len(labels)):
        if steps[i] != 0:
            _, lead = find_lead(weights, samples, i, labels[i], NONE)
            if not lead > 0:
                out[0] = out[1] = 0
                break
            out[0] = min(out[0], lead)
            out[1] = min(out[1], steps[i] * lead)


@kernel
def greatest_length(out, samples, steps):
    """out (2,) ← the largest ‖x‖² and the largest (step · ‖x‖)², x with its constant."""
    values, indices, starts, constant = samples
    out[0] = out[1] = 0
    for i in range(len(steps)):
        if steps[i] != 0:
            square = squared_length(values, indices, starts, i) + constant * constant
            out[0] = max(out[0], square)
            out[1] = max(out[1], steps[i] * steps[i] * square)


@kernel
def squared_length(values, indices, starts, i):
    """‖x‖² over the features alone, in float64."""
    total = 0.0
    if values.ndim == 2:
        row = values[i]
        for j in range(len(row)):
            total += np.float64(row[j]) * np.float64(row[j])
    else:
        for k in range(starts[i], starts[i + 1]):
            total += np.float64(values[k]) * np.float64(values[k])
    return total
