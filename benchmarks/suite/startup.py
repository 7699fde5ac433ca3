"""What a user waits for before the first step, in fresh processes.

asv times the program inside the process, after the interpreter has started (some 20 ms more);
``python benchmarks/peers.py --startup`` times whole processes.
"""

from .common import warm

QUIET = """
import os, sys
sys.stderr = open(os.devnull, "w")  # "hotloop: compiling kernels" is expected here
"""

EMPTY_CACHE = """
import atexit, os, shutil, tempfile
os.environ["NUMBA_CACHE_DIR"] = tempfile.mkdtemp()  # read once, when numba is imported
atexit.register(shutil.rmtree, os.environ["NUMBA_CACHE_DIR"], ignore_errors=True)
"""

FIRST_FIT = """
import numpy as np
import hotloop as hl

rng = np.random.default_rng(0)
X, y = rng.standard_normal((160, 4)), rng.integers(0, 3, 160)
model = hl.Sequential([hl.Dense(16, "relu"), hl.Dense(3)], input_dim=4)
hl.Trainer(model, loss="softmax_cross_entropy", batch_size=16).fit(X, y, epochs=5)
"""

# Fills the cache that `timeraw_first_fit_warm` reads.
warm()


class Startup:
    """Import, and import with a small network built and trained."""

    number = 1
    repeat = 5
    rounds = 2
    timeout = 120

    def timeraw_import(self):
        return "import hotloop"

    def timeraw_first_fit_warm(self):
        """Kernels come from the cache on disk."""
        return FIRST_FIT, QUIET


class ColdStartup:
    """The same with nothing in the cache: the time of numba and LLVM."""

    number = 1
    repeat = 1
    rounds = 2
    warmup_time = 0
    timeout = 180

    def timeraw_first_fit_cold(self):
        return FIRST_FIT, QUIET + EMPTY_CACHE
