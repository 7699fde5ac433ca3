"""The thousandth fit, prediction, save or load takes no more memory than the first."""

import json
import os
import subprocess
import sys

import pytest

from helpers import child_environment
from sizes import CAMPAIGN, marks, size

pytestmark = [*marks, pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads /proc")]
TIMES = size(10, 1000)
RESIDENT, TRACED = 2 << 20, 50_000
"""Bytes that may come and go: pages that the allocator keeps, and Python's own caches: an object of
50 bytes left behind by each of the 1,000 would show."""


def test_memory_does_not_grow():
    command = [sys.executable, str(CAMPAIGN / "hoarder.py"), str(TIMES)]
    done = subprocess.run(
        command, env=child_environment(), capture_output=True, text=True, timeout=size(100, 900), check=False
    )
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    found = json.loads(done.stdout)
    assert found
    for name, grown in found.items():
        assert grown["resident"] < RESIDENT, f"{name}: {found}"
        assert grown["traced"] < TRACED, f"{name}: {found}"
