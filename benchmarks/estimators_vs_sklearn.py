"""MLPs against scikit-learn's on its bundled data: scores, cross-validated, and time in total.

python benchmarks/estimators_vs_sklearn.py [--seeds 5] [--dtype auto] [--n-threads 1]

Both have default settings and the same folds and seeds, after a standardising step. scikit-learn multiplies
by BLAS: run it with OPENBLAS_NUM_THREADS=1 as well, since its threads may well slow it down.
"""

import argparse
import time
import warnings

import numpy as np
from sklearn import datasets, neural_network
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import hotloop as hl

SETS = ("digits", "breast_cancer", "wine", "iris", "diabetes")


def scores(make, X, y, folds):
    """The score on each fold, and the seconds it took."""
    started = time.perf_counter()
    found = cross_val_score(make_pipeline(StandardScaler(), make()), X, y, cv=folds)
    return found, time.perf_counter() - started


def compare(name, seeds, options):
    """Mean scores and seconds of both; the kinds take turns, so that a busy machine slows both down."""
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    values = name == "diabetes"
    kind, split = ("MLPRegressor", KFold) if values else ("MLPClassifier", StratifiedKFold)
    y = (y - y.mean()) / y.std() if values else y
    modules = {"hotloop": (hl, options), "scikit-learn": (neural_network, {})}
    found, seconds = {key: [] for key in modules}, dict.fromkeys(modules, 0.0)
    getattr(hl, kind)(max_iter=1, tol=1e9, **options).fit(X, y)  # compiles
    for seed in range(seeds):
        folds = split(5, shuffle=True, random_state=seed)
        for key, (module, own) in modules.items():
            part, took = scores(
                lambda m=module, o=own, s=seed: getattr(m, kind)(random_state=s, **o), X, y, folds
            )
            found[key] += list(part)
            seconds[key] += took
    return {key: (np.mean(found[key]), np.std(found[key]), seconds[key]) for key in modules}


def main():
    """A table of all sets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--n-threads", type=int, default=1)
    arguments = parser.parse_args()
    options = {"dtype": arguments.dtype, "n_threads": arguments.n_threads}
    warnings.simplefilter("ignore")  # 200 epochs are too few for some
    total = {}
    print(f"{'':15}{'hotloop':>22}{'scikit-learn':>24}{'times as fast':>16}")
    for name in SETS:
        row = compare(name, arguments.seeds, options)
        for key, (*_, seconds) in row.items():
            total[key] = total.get(key, 0.0) + seconds
        cells = "".join(
            f"{mean:10.4f} ±{spread:.3f}{seconds:7.2f} s" for mean, spread, seconds in row.values()
        )
        print(f"{name:15}{cells}{row['scikit-learn'][2] / row['hotloop'][2]:12.1f}", flush=True)
    print(f"in total: {total['scikit-learn'] / total['hotloop']:.1f} times as fast")


if __name__ == "__main__":
    main()
