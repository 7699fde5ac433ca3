"""Every method of `hl.minimize` on the shared problems: how many steps, and what they took.

python benchmarks/minimizers.py      prints the table of docs/minimizers.md; takes a minute or two
"""

import hotloop as hl
from hotloop.analysis.problems import PROBLEMS

VARIANTS = {
    "random_search": [{}],
    "coordinate": [{}, {"order": "greedy"}, {"order": "random"}],
    "steepest": [{"norm": "l1"}, {"norm": "linf"}],
    "gradient_descent": [{}, {"step": "wolfe"}, {"step": "optimal"}],
    "conjugate_gradient": [{}, {"beta": "fr"}, {"beta": "hs"}, {"step": "optimal"}],
    "l-bfgs": [{}],
    "bfgs": [{}],
    "hessian_free": [
        {},
        {"preconditioner": "hutchinson"},
        {"preconditioner": "gradient"},
        {"curvature": "gauss_newton"},
    ],
    "trust-ncg": [{}],
    "trust-krylov": [{}],
    "levenberg_marquardt": [{}],
    "damped_newton": [{}],
    "newton": [{}],
}
LOW = 1e-8
"""Where the loss of the network counts as found: its gradient is small long before it."""


def cell(name, method, options):
    """Steps / points where L was evaluated, and products (Hv) or matrices (H); else why it is not there."""
    problem = PROBLEMS[name]
    until = (lambda state: state.value <= LOW) if name == "network" else None
    result = hl.minimize(problem.function, problem.start, method=method, callback=until, **options)
    if result.value > LOW:
        return "elsewhere" if result.converged else "–"
    second = [f"{n} {unit}" for n, unit in ((result.n_hvps, "Hv"), (result.n_hessians, "H")) if n]
    return " / ".join([str(result.n_iter), str(result.n_values), *second])


def main():
    print("| method |", " | ".join(PROBLEMS), "|")
    print("| --- |", " | ".join("---:" for _ in PROBLEMS), "|")
    for method, variants in VARIANTS.items():
        for options in variants:
            label = ", ".join([f'"{method}"', *(f'{key}="{value}"' for key, value in options.items())])
            cells = (cell(name, method, options) for name in PROBLEMS)
            print(f"| `{label}` |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
