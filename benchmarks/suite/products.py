"""The product behind dense layers, as GFLOP/s, and next to OpenBLAS in the same run.

Which loop a parameter is about, in `engine/walk.py` unless said:

====================================  ================================================================
64 … 512, forward or gradient         `full_tile` in `engine/tile.py`
backward only                         `pack_transposed` in `engine/packing.py`, on `full_square`
1024, 2048, not 512                   `WIDE` and `VERY_WIDE`: what is packed; passes of `matmul.MOST_TERMS`
gradient, from 128 units              `SOME`, `MANY` and `SPREAD`; `pack_groups` in `engine/packing.py`
1 unit                                `few.few_by_rows` in forward, `few_by_terms` in the gradient
2 to 10 units, gradient               `few.multiply_turned`, and `is_worth_turning`
2 or 4 units, forward                 `engine/quads.py`
10 units, and backward of 4           `narrow_tile`, and in backward sums of so few terms
4 inputs, gradient                    `flat_tile` in `engine/tile.py`
8 inputs                              `edge_tile`, and in forward sums of so few terms
Zeros                                 `engine/sparse.py`, and `listed_tile` in `engine/tile.py`
MatrixUnit                            `engine/amx.py`, `engine/unit.py`, `engine/split.py`
====================================  ================================================================

A layer of n inputs and u units on a batch of b rows: forward is (b, n) by (n, u), backward (b, u) by
(u, n), gradient (n, b) by (b, u). float32, one thread.
"""

import numpy as np
from threadpoolctl import threadpool_limits

from hotloop.engine.unit import has_amx

from .common import clean_digits, fastest
from .kernels import amx_panel, repeat_amx, repeat_multiply, scratch

PASSES = ["forward", "backward", "gradient"]
MILLISECOND = 5e7
"""Operations of about a millisecond: a timed call has as many smaller products, but at most `MOST`."""
MOST = 500


def operands(which, batch, inputs, units):
    """The matrices a, b of the product that a pass computes, as views of (batch, …) and (inputs, units)."""
    rng = np.random.default_rng(0)
    x, delta = (rng.standard_normal((batch, width), np.float32) for width in (inputs, units))
    w = rng.standard_normal((inputs, units), np.float32)
    return {"forward": (x, w), "backward": (delta, w.T), "gradient": (x.T, delta)}[which]


class Product:
    """One pass of a layer on a batch, computed by hotloop and by OpenBLAS."""

    def __init__(self, which, batch, inputs, units):
        self.a, self.b = operands(which, batch, inputs, units)
        self.flop = 2 * batch * inputs * units
        self.times = min(MOST, max(1, round(MILLISECOND / self.flop)))
        self.out = np.empty((len(self.a), self.b.shape[1]), np.float32)
        self.memory = scratch(self.out, self.b)
        threadpool_limits(1, "blas")
        self.ours()  # compiles

    def ours(self):
        """Some products by `engine.matmul.multiply`."""
        repeat_multiply(self.times, self.out, self.a, self.b, *self.memory)

    def theirs(self):
        """As many by OpenBLAS, through NumPy: half a microsecond each is the call."""
        for _ in range(self.times):
            np.dot(self.a, self.b, out=self.out)

    def rates(self):
        """GFLOP/s of hotloop and of OpenBLAS, in turn in one run."""
        return [self.rate(seconds) for seconds in fastest(self.ours, self.theirs)]

    def rate(self, seconds):
        """GFLOP/s, if a call takes so long."""
        return 1e-9 * self.times * self.flop / seconds


class Squares:
    """Batch, inputs and units of the same size."""

    params = (PASSES, [64, 128, 256, 512, 1024, 2048])
    param_names = ("pass", "size")
    timeout = 120

    def setup(self, which, size):
        self.product = Product(which, size, size, size)

    def track_rate(self, which, size):
        """Of hotloop alone."""
        return self.product.rate(fastest(self.product.ours)[0])

    track_rate.unit = "GFLOP/s"

    def track_time_against_openblas(self, which, size):
        """Below 1 ours is faster."""
        ours, theirs = self.product.rates()
        return theirs / ours

    track_time_against_openblas.unit = "of OpenBLAS's time"


LAYERS = {
    "784 inputs, 1 unit": (128, 784, 1),
    "784 inputs, 2 units": (128, 784, 2),
    "784 inputs, 10 units": (128, 784, 10),
    "32 inputs, 4 units": (128, 32, 4),
    "4 inputs, 32 units": (128, 4, 32),
    "8 inputs, 128 units": (128, 8, 128),
    "784 inputs, 128 units": (128, 784, 128),
}


class Layers(Squares):
    """Tall and flat ones, batch 128; the last, which is neither, to compare."""

    params = (PASSES, list(LAYERS))
    param_names = ("pass", "layer")

    def setup(self, which, layer):
        self.product = Product(which, *LAYERS[layer])


WIDE_LAYERS = {
    "784 inputs, 128 units": (128, 784, 128),
    "256 inputs, 256 units": (256, 256, 256),
    "784 inputs, 512 units": (256, 784, 512),
    "2048 inputs, 2048 units": (256, 2048, 2048),
}


class MatrixUnit:
    """Products on the processor's matrix unit, beside those by multiply-adds; minibatches of 128 and 256."""

    params = (PASSES, list(WIDE_LAYERS))
    param_names = ("pass", "layer")

    def setup(self, which, layer):
        if not has_amx():
            raise NotImplementedError("no matrix unit")  # asv leaves it out
        self.product = Product(which, *WIDE_LAYERS[layer])
        self.panel = amx_panel(self.product.a, self.product.b)
        self.on_unit()  # compiles

    def on_unit(self):
        """Some products, as wide layers have them."""
        product = self.product
        zeros, _ = product.memory
        repeat_amx(product.times, product.out, product.a, product.b, zeros, self.panel)

    def track_rate(self, which, layer):
        """As many as multiply-adds would be, for each of which the unit takes six products."""
        return self.product.rate(fastest(self.on_unit)[0])

    track_rate.unit = "GFLOP/s"

    def track_time_against_multiply_adds(self, which, layer):
        """Below 1 the unit is faster."""
        on_unit, ours = fastest(self.on_unit, self.product.ours)
        return on_unit / ours

    track_time_against_multiply_adds.unit = "of the time of multiply-adds"


class Zeros:
    """A first layer of 128 units on 128 rows of data, beside the same products with all their terms."""

    params = (["forward", "gradient"], ["images", "one-hot", "normal"])
    param_names = ("pass", "data")

    def setup(self, which, data):
        rng = np.random.default_rng(0)
        x = {
            "images": lambda: clean_digits()[0][:128],
            "one-hot": lambda: np.eye(784, dtype=np.float32)[rng.integers(0, 784, 128)],
            "normal": lambda: rng.standard_normal((128, 784), np.float32),
        }[data]()
        self.product = Product(which, 128, 784, 128)
        self.product.a = x if which == "forward" else x.T
        self.skipping()  # compiles

    def skipping(self):
        """Some products, as a first layer has them."""
        product = self.product
        repeat_multiply(product.times, product.out, product.a, product.b, *product.memory, True)

    def track_time_against_all_terms(self, which, data):
        """What is left of the time; with normal data 1 and what it takes to see that nothing is 0."""
        skipping, ours = fastest(self.skipping, self.product.ours)
        return skipping / ours

    track_time_against_all_terms.unit = "of the time of all terms"
