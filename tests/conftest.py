"""What all tests share: how Hypothesis searches, and which tests also run on uncompiled kernels.

pytest                                    everything, compiled
NUMBA_DISABLE_JIT=1 pytest -m kernels     kernels as plain Python, where coverage sees them
NUMBA_BOUNDSCHECK=1 pytest -m kernels     kernels with every index checked

Tests of the marker `kernels` use small sizes where `hotloop._jit.COMPILED` is False.
"""

import os

from hypothesis import settings

from hotloop._jit import COMPILED

settings.register_profile("local", deadline=None, max_examples=60 if COMPILED else 20)
settings.register_profile("ci", settings.get_profile("local"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")


def pytest_configure(config):
    config.addinivalue_line("markers", "kernels: also run with the JIT off, and with bounds checks on")
    config.addinivalue_line("markers", "torch: held to PyTorch, where it is installed")
    config.addinivalue_line("markers", "campaign: tries much at random; HOTLOOP_CAMPAIGN=full for all of it")
