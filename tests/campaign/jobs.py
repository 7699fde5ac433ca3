"""Trainings beside each other, in processes and threads of all kinds; run as a script with a group's name.

Each scenario returns digests that must all be those of the same jobs one after the other. The script
ends itself with a traceback of all threads where they wait for each other.
"""

import faulthandler
import hashlib
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np

import hotloop as hl

LIMIT = 180
"""Seconds for a group."""
RNG = np.random.default_rng(0)
X = RNG.standard_normal((200, 12)).astype(np.float32)
Y = RNG.integers(0, 3, 200)


def watch(seconds):
    """End this process, with a traceback of all threads, unless it is done by then.

    (By a signal: the watchdog of `faulthandler` is a thread, and a fork would wait for it for ever.)
    """
    if hasattr(signal, "SIGALRM"):
        faulthandler.register(signal.SIGALRM, chain=True)
        signal.alarm(seconds)


def digest(*arrays):
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


def new_trainer(seed, n_threads):
    layers = [hl.Dense(33, "tanh"), hl.BatchNorm(), hl.Dropout(0.2), hl.Dense(3)]
    model = hl.Sequential(layers, input_dim=12, seed=seed)
    return hl.Trainer(model, loss="softmax_cross_entropy", batch_size=30, seed=seed, n_threads=n_threads)


def job(seed, n_threads=1, epochs=3):
    """Train and predict."""
    trainer = new_trainer(seed, n_threads)
    trainer.fit(X, Y, epochs=epochs, validation_data=(X, Y))
    return digest(trainer.model.theta, trainer.model.running, trainer.model.predict(X, n_threads=n_threads))


def go_on(trainer):
    """Two epochs more, of a trainer that came from another process."""
    trainer.fit(X, Y, epochs=2)
    return digest(trainer.model.theta)


def forked(function, *args):
    """``function(*args)``, text, in a fork of this process, as ``os.fork`` makes it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        watch(LIMIT // 2)
        try:
            os.write(writer, function(*args).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        found = file.read().decode()
    os.waitpid(child, 0)
    return found


def forks(seeds):
    """After training with two threads; the parent trains on between forks."""
    found = []
    for seed in seeds:
        assert job(seed, 2) == job(seed)
        found.append(forked(job, seed, 2))
    return found


def forks_in_a_callback(seeds):
    """While the parent's own threads are there, between two epochs of its fit."""
    found = []

    class Fork(hl.Callback):
        def on_epoch_end(self, trainer, epoch, logs):
            found.append(forked(job, seeds[epoch - 1], 2))

    new_trainer(0, 2).fit(X, Y, epochs=len(seeds), callbacks=Fork())
    return found


def forks_of_multiprocessing(seeds):
    job(0, 2)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return pool.starmap(job, [(seed, 2) for seed in seeds])


def spawns(seeds):
    job(0, 2)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        return pool.starmap(job, [(seed, 2) for seed in seeds])


def loky(seeds):
    """joblib's processes."""
    return joblib.Parallel(n_jobs=2, backend="loky")(joblib.delayed(job)(seed, 2) for seed in seeds)


def joblib_threads(seeds):
    return joblib.Parallel(n_jobs=3, backend="threading")(joblib.delayed(job)(seed, 2) for seed in seeds)


def many_threads(seeds):
    """All at once, each with more threads than there are processors."""
    with ThreadPoolExecutor(len(seeds)) as pool:
        return list(pool.map(lambda seed: job(seed, 5), seeds))


def trainers_that_travel(seeds):
    """Half trained here, pickled, and gone on with in a spawned process."""
    half = []
    for seed in seeds:
        trainer = new_trainer(seed, 2)
        trainer.fit(X, Y, epochs=1)
        half.append(trainer)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        elsewhere = pool.map(go_on, half)
    here = [go_on(pickle.loads(pickle.dumps(trainer))) for trainer in half]
    assert elsewhere == here
    return [job(seed) for seed in seeds]


def one_model_for_all(seeds):
    """Threads predict with the same model at once, each with threads of its own."""
    models = [new_trainer(seed, 1).model for seed in seeds]
    alone = [model.predict(X) for model in models]
    wrong = []

    def predict(k):
        for _ in range(20):
            for model, expected in zip(models, alone, strict=True):
                if not np.array_equal(model.predict(X, n_threads=1 + k % 3), expected):
                    wrong.append(k)

    threads = [threading.Thread(target=predict, args=(k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    return [job(seed) for seed in seeds]


def some_fail(seeds):
    """Half of the trainings end in an error of their callback; the others never notice."""

    class Failing(hl.Callback):
        def on_block_end(self, trainer):
            raise ArithmeticError("on purpose")

    def one(k):
        if k % 2 == 0:
            return job(seeds[k // 2], 3)
        try:
            new_trainer(k, 3).fit(X, Y, callbacks=Failing())
        except ArithmeticError:
            return None
        raise AssertionError("it did not fail")

    with ThreadPoolExecutor(4) as pool:
        return [found for found in pool.map(one, range(2 * len(seeds))) if found]


GROUPS = {
    "forks": (forks, forks_in_a_callback, forks_of_multiprocessing),
    "new processes": (spawns, loky, trainers_that_travel),
    "threads": (joblib_threads, many_threads, one_model_for_all, some_fail),
}
"""What one run of this script tries, one scenario after the other."""


if __name__ == "__main__":
    import jobs  # under the name by which other processes find the functions

    watch(LIMIT)
    group, n = sys.argv[1], int(sys.argv[2])
    seeds = list(range(n))
    expected = [jobs.job(seed) for seed in seeds]
    for scenario in jobs.GROUPS[group]:
        found = scenario(seeds)
        assert found == expected, f"{scenario.__name__}: other weights: {found} instead of {expected}"
    print("the same")
