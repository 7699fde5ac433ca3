"""A training that saves after every epoch, for somebody to kill; run as a script, it forks one a line.

Forking from a process that has hotloop imported and its kernels loaded, and no threads, spares each
its second of start-up. Lines of stdin are paths; a line of stdout has the number of the new process. It
resumes from the path if there is a file, and trains and saves until it is killed.
"""

import faulthandler
import os
import signal
import sys
import traceback

import numpy as np

import hotloop as hl

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 30)).astype(np.float32)
Y = RNG.integers(0, 3, 40)


SILENCE = 60
"""Seconds without a save after which a process says, on stderr, what it is doing."""


def new_trainer():
    """Some 200 kB with the optimizer's state, so that a save takes a while."""
    model = hl.Sequential([hl.Dense(400, "tanh"), hl.Dropout(0.1), hl.Dense(3)], input_dim=30, seed=1)
    return hl.Trainer(
        model, loss="softmax_cross_entropy", optimizer=hl.Adam(hl.Cosine(1e-3, steps=500)), batch_size=20,
        average=hl.EMA(0.9),
    )  # fmt: skip


def one_epoch(trainer):
    trainer.fit(X, Y, epochs=1)


def train_and_save(path):
    """Until somebody ends it."""
    trainer = hl.Trainer.load(path) if os.path.exists(path) else new_trainer()
    while True:
        faulthandler.dump_traceback_later(SILENCE)
        one_epoch(trainer)
        trainer.save(path)


if __name__ == "__main__":
    one_epoch(new_trainer())
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # ended ones are not kept
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                train_and_save(line.rstrip("\n"))
            except BaseException:
                traceback.print_exc()  # nobody else would say why it does not save
            finally:
                os._exit(1)
        print(child, flush=True)
