"""Forks, new processes, joblib, threads: the weights of one after the other, and nobody waits for ever."""

import os
import signal
import subprocess
import sys

import pytest

from helpers import child_environment
from jobs import GROUPS, LIMIT
from sizes import CAMPAIGN, marks, size

pytestmark = marks
JOBS = size(2, 10)


@pytest.mark.parametrize("group", GROUPS)
def test_trainings_beside_each_other_are_those_alone(group):
    if group == "forks" and not hasattr(os, "fork"):
        pytest.skip("this system has no fork")
    # (From Python 3.12 on, a fork beside threads is warned of.)
    command = [
        sys.executable,
        "-W",
        "ignore::DeprecationWarning",
        str(CAMPAIGN / "jobs.py"),
        group,
        str(JOBS),
    ]
    process = subprocess.Popen(
        command, env=child_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        said, errors = process.communicate(timeout=LIMIT + 20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # with all that it has started
        raise
    assert (process.returncode, said) == (0, "the same\n"), errors
