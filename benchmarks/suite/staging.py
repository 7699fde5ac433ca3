"""Getting shuffled rows to the loop, as GB/s, and next to a plain copy in the same run.

Each kind of data takes its own way through `stage_rows` in `data/staging.py`:

=======================  =============================================================================
float32, memmap          `np.take`, right into the block (a trainer only does so with short rows: the
                         loop reads others where they lie, and converts them)
float64, uint8           `convert` in `engine/gather.py`: converted while they are gathered
csr                      `scatter_rows` there: the few numbers of each row, on zeros
ShortRows                `engine/take.py`, from all over the third cache or memory
=======================  =============================================================================
"""

import numpy as np

from hotloop.data.staging import BLOCK_BYTES, SparseRows, stage_rows

from .common import as_given, digits, fastest

ROWS = 8192


class Staging:
    """An epoch of shuffled rows, one block after the other, in float32."""

    params = (["float32", "float64", "uint8", "memmap", "csr"],)
    param_names = ("data",)

    def setup(self, kind):
        self.X, _ = digits(ROWS)
        given = as_given(kind, self.X)
        self.source = SparseRows(given) if kind == "csr" else given
        self.order = np.random.default_rng(0).permutation(ROWS)
        self.block = np.empty((BLOCK_BYTES // self.X[0].nbytes, self.X.shape[1]), np.float32)
        self.stage()  # compiles

    def blocks(self):
        """The rows of each block, and the part of its memory that they fill."""
        for first in range(0, ROWS, len(self.block)):
            rows = self.order[first : first + len(self.block)]
            yield rows, self.block[: len(rows)], slice(first, first + len(rows))

    def stage(self):
        """As a trainer does."""
        for rows, part, _ in self.blocks():
            stage_rows(self.source, rows, part, 1 / 255)

    def copy(self):
        """float32, in the order in which the rows lie."""
        for _, part, where in self.blocks():
            np.copyto(part, self.X[where])

    def track_rate(self, kind):
        """Bytes that arrive in blocks."""
        return 1e-9 * self.X.nbytes / fastest(self.stage)[0]

    track_rate.unit = "GB/s"

    def track_time_against_copy(self, kind):
        """Of float32 rows in their order."""
        stage, copy = fastest(self.stage, self.copy)
        return stage / copy

    track_time_against_copy.unit = "of the time of a copy"


class ShortRows:
    """A million shuffled rows of 4 or 10 float32, one block after the other, and NumPy beside."""

    params = ([4, 10],)
    param_names = ("features",)

    def setup(self, features):
        rng = np.random.default_rng(0)
        self.X = rng.random((1_000_000, features), np.float32)
        self.order = rng.permutation(len(self.X))
        self.block = np.empty((BLOCK_BYTES // self.X[:1].nbytes, features), np.float32)
        stage_rows(self.X, self.order[:2], self.block[:2])  # compiles

    def blocks(self):
        """The rows of each block, and the part of its memory that they fill."""
        for first in range(0, len(self.X), len(self.block)):
            rows = self.order[first : first + len(self.block)]
            yield rows, self.block[: len(rows)]

    def stage(self):
        """As a trainer does."""
        for rows, part in self.blocks():
            stage_rows(self.X, rows, part)

    def take(self):
        """NumPy's."""
        for rows, part in self.blocks():
            np.take(self.X, rows, axis=0, out=part, mode="clip")

    def track_nanoseconds_a_row(self, features):
        """With its wait for the memory."""
        return 1e9 * fastest(self.stage)[0] / len(self.X)

    track_nanoseconds_a_row.unit = "ns"

    def track_time_against_numpy(self, features):
        """Of `np.take`."""
        stage, take = fastest(self.stage, self.take)
        return stage / take

    track_time_against_numpy.unit = "of the time of NumPy"
