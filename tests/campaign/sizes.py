"""How large the campaign is: a sample of it in the plain run, or all of it.

pytest -m campaign                          the sample, part of every run
HOTLOOP_CAMPAIGN=full pytest -m campaign    all of it; docs/trust.md says what is tried, and how often
"""

import os
from pathlib import Path

import pytest

from hotloop._jit import COMPILED

FULL = os.environ.get("HOTLOOP_CAMPAIGN") == "full"
CAMPAIGN = Path(__file__).parent

marks = [
    pytest.mark.campaign,
    pytest.mark.skipif(not COMPILED, reason="the campaign is of compiled code"),
]


def size(sample, full):
    """How many draws, kills or fits."""
    return full if FULL else sample
