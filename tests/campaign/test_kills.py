"""Processes killed at random moments while they save: one whole file each time, and nothing is lost."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import hotloop as hl
from helpers import child_environment
from saver import new_trainer, one_epoch
from sizes import CAMPAIGN, marks, size

pytestmark = [*marks, pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")]
KILLS = size(8, 200)
LIMIT = 240
"""Seconds after which a new process that lives and has not saved hangs: a second or two are usual."""


@contextlib.contextmanager
def saver():
    """``start(path)`` begins a training there, and returns the number of its process."""
    script = str(CAMPAIGN / "saver.py")
    child = subprocess.Popen(
        [sys.executable, script], env=child_environment(), stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip

    def start(path):
        child.stdin.write(f"{path}\n")
        child.stdin.flush()
        return int(child.stdout.readline())

    try:
        yield start
    finally:
        child.stdin.close()
        child.wait(LIMIT)
        child.stdout.close()


def time_of(path):
    return path.stat().st_mtime_ns if path.exists() else 0


def kill_while_it_saves(start, path, delay):
    """Start a training, wait until it has saved once, and so long; then kill it."""
    before, process = time_of(path), start(path)
    deadline = time.monotonic() + LIMIT
    try:
        while time_of(path) == before:
            assert exists(process), "it has ended without a save; stderr says why"
            assert time.monotonic() < deadline, "it does not save; stderr says what it is doing"
            time.sleep(0.001)
        time.sleep(delay)
    finally:
        os.kill(process, signal.SIGKILL)
    while exists(process):
        assert time.monotonic() < deadline, "it does not die"
        time.sleep(0.001)


def exists(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_killed_process_leaves_a_whole_file_that_training_goes_on_from(tmp_path):
    """Each process goes on from what the last left; after each kill the file is what training that was
    never stopped has after as many epochs, bit for bit."""
    path, rng = tmp_path / "training", np.random.default_rng()
    whole, interrupted = new_trainer(), 0
    with saver() as start:
        for _ in range(KILLS):
            kill_while_it_saves(start, path, rng.uniform(0, 0.03))
            found = hl.Trainer.load(path)
            assert found.epoch > whole.epoch
            while whole.epoch < found.epoch:
                one_epoch(whole)
            for name in ("state", "average"):
                one, other = (getattr(trainer.stepper, name) for trainer in (found, whole))
                np.testing.assert_array_equal(one, other, name)
            np.testing.assert_array_equal(found.model.theta, whole.model.theta)
            assert (found.step, dict(found.history)) == (whole.step, dict(whole.history))
            # What a kill in the middle of a save leaves: hidden files, one for each at most.
            parts = [name for name in os.listdir(tmp_path) if name != path.name]
            assert all(name.startswith(f".{path.name}.") and name.endswith(".part") for name in parts)
            assert len(parts) <= 1
            interrupted += len(parts)
            for name in parts:
                (tmp_path / name).unlink()
    print(f"{KILLS} kills, {interrupted} of them in the middle of a save")
    assert interrupted or KILLS < 100, "no kill came in the middle of a save: this tests nothing"
