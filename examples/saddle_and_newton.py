"""Where Newton's method ends
==========================

See where Newton's method ends: in minima, saddles and a maximum alike, as they all have gradient 0.

The smallest network with a saddle is ŷ = w₁ w₂ x (notes/000, section 2.3.2); a small penalty leaves it two
minima, and the saddle between them, at 0. Newton's step −H⁻¹g goes to where the gradient would be 0 if the
loss were quadratic, upwards if need be, and here into the saddle. Gradient descent and the damped step
−(H + λI)⁻¹g, with λ as large as needed, only ever go down, and from the saddle itself an eigenvector of
a negative eigenvalue leads away. Himmelblau's function has critical points of all kinds: its maps show by
color where each method ends from where it starts.

To run it::

    python examples/saddle_and_newton.py
    python examples/saddle_and_newton.py --grid 201    # finer maps: some minutes
"""

import argparse
from pathlib import Path

import numpy as np

import hotloop as hl

PENALTY = 0.2
START = (1.6, -0.5)
REACH = 2.2
SIDE = 5.0
"""The maps show −SIDE … SIDE in both variables."""
MARKS = {"local minimum": ("v", "C0"), "saddle": ("X", "C1"), "local maximum": ("^", "C3")}
METHODS = {"newton": "Newton", "damped_newton": "damped Newton", "gradient_descent": "gradient descent"}


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--grid", type=int, default=51, help="starts along each side of a map")
    parser.add_argument("--picture", type=Path, default=Path("saddle_and_newton.png"))
    return parser.parse_args()


def product():
    """(1 − w₁w₂)² + ½ PENALTY (w₁² + w₂²), as the loss of a network."""
    layers = [hl.Dense(1, use_bias=False), hl.Dense(1, use_bias=False)]
    model = hl.Sequential(layers, input_dim=1, dtype="float64")
    return hl.Objective(model, [[1.0]], [1.0], loss="mse", penalty=hl.L2(PENALTY))


def himmelblau():
    """(x² + y − 11)² + (x + y² − 7)²: four minima, a maximum, and four saddles."""

    def residuals(t):
        return t[0] ** 2 + t[1] - 11, t[0] + t[1] ** 2 - 7

    def gradient(t):
        a, b = residuals(t)
        return [4 * t[0] * a + 2 * b, 2 * a + 4 * t[1] * b]

    def hessian(t):
        a, b = residuals(t)
        mixed = 4 * (t[0] + t[1])
        return [[8 * t[0] ** 2 + 4 * a + 2, mixed], [mixed, 8 * t[1] ** 2 + 4 * b + 2]]

    return hl.Function(lambda t: np.square(residuals(t)).sum(), 2, gradient=gradient, hessian=hessian)


def critical_points(objective, reach):
    """[(θ, kind)] of the critical points that Newton's method finds from 81 starts."""
    found = []
    for start in np.stack(np.meshgrid(*2 * [np.linspace(-reach, reach, 9)]), axis=-1).reshape(-1, 2):
        theta = hl.minimize(objective, start, method="newton", gtol=1e-9, max_iter=100).theta
        point = hl.critical_point(objective, theta)
        if point.kind in MARKS and not any(np.allclose(theta, known, atol=1e-4) for known, _ in found):
            found.append((theta, point.kind))
    return found


def ends_of(objective, points, method, grid):
    """For each start of a grid (grid, grid) the number of the critical point it leads to, −1 if to none."""
    side = np.linspace(-SIDE, SIDE, grid)
    places = np.array([theta for theta, _ in points])
    ends = np.full((grid, grid), -1)
    for (i, j), _ in np.ndenumerate(ends):
        found = hl.minimize(objective, [side[j], side[i]], method=method, gtol=1e-2, max_iter=100)
        distance = np.linalg.norm(places - found.theta, axis=1)
        if distance.min() < 0.05:
            ends[i, j] = distance.argmin()
    return ends


def draw_network(axes, objective, paths, points, escape):
    """The surface of the network's loss, the paths from one start, and the way out of the saddle."""
    hl.plot.error_surface(objective, (-REACH, REACH), (-REACH, REACH), arrows=False, paths=paths, ax=axes)
    saddle = next(theta for theta, kind in points if kind == "saddle")
    axes.annotate(
        "", escape.theta, saddle, arrowprops={"arrowstyle": "-|>", "color": "C4", "lw": 2}, zorder=6
    )
    axes.annotate("hl.escape_saddle", saddle, (0, 12), textcoords="offset points", ha="right")
    mark(axes, points)
    axes.set(title="loss of ŷ = w₁w₂x, and three ways down", xlabel="w₁", ylabel="w₂")


def mark(axes, points):
    """A mark for each kind of critical point."""
    for kind, (marker, color) in MARKS.items():
        places = [theta for theta, found in points if found == kind]
        if places:
            x, y = np.transpose(places)
            axes.plot(x, y, marker, color=color, mec="white", mew=1.5, ms=11, ls="", zorder=7)


def shades(points):
    """A color for each critical point: minima in blue, saddles in orange, the maximum in red."""
    from matplotlib import colormaps

    maps = {"local minimum": "Blues", "saddle": "Oranges", "local maximum": "Reds"}
    kinds = [kind for _, kind in points]
    depth = [kinds[:k].count(kind) for k, kind in enumerate(kinds)]
    return [colormaps[maps[kind]](0.75 - 0.16 * k)[:3] for kind, k in zip(kinds, depth, strict=True)]


def draw_map(axes, objective, points, ends, name):
    """Where a method ends, by where it starts; grey where it came to no critical point."""
    palette = np.array([*shades(points), (0.6, 0.6, 0.6)])  # the last is that of −1
    extent = 2 * [-SIDE, SIDE]
    axes.imshow(palette[ends], origin="lower", extent=extent)
    side = np.linspace(-SIDE, SIDE, 61)
    surface = [[objective.value([a, b]) for a in side] for b in side]
    axes.contour(side, side, surface, np.geomspace(3, 500, 10), colors="white", linewidths=0.5, alpha=0.7)
    mark(axes, points)
    lowest = [k for k, (_, kind) in enumerate(points) if kind == "local minimum"]
    share = np.mean(np.isin(ends, lowest))
    axes.set(title=f"{name}: {100 * share:.0f} % end in a minimum", xlabel="x", ylabel="y")


def draw(path, network, points, paths, escape, function, places, maps):
    """The network first, then a map for each method."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(2, 2, figsize=(11, 10), layout="constrained")
    first, *others = panels.flat
    draw_network(first, network, paths, points, escape)
    for axes, (name, ends) in zip(others, maps.items(), strict=True):
        draw_map(axes, function, places, ends, name)
    handles = [
        plt.Line2D([], [], marker=m, color=c, ls="", ms=9, label=kind) for kind, (m, c) in MARKS.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    figure.savefig(path, dpi=120)


def main():
    options = parse_options()
    network, function = product(), himmelblau()
    points, places = critical_points(network, REACH), critical_points(function, SIDE)
    paths = {
        name: hl.minimize(network, START, method=method, path=True, max_iter=100).path
        for method, name in METHODS.items()
    }
    for name, path in paths.items():
        point = hl.critical_point(network, path[-1], tol=1e-4)
        print(f"{name:16} {len(path) - 1:3} steps to a {point.kind}, loss {point.value:.4f}")
    escape = hl.escape_saddle(network, next(theta for theta, kind in points if kind == "saddle"))
    print(escape)
    kinds = [kind for _, kind in places]
    print("Himmelblau's function: " + ", ".join(f"{kinds.count(kind)} × {kind}" for kind in MARKS))
    maps = {name: ends_of(function, places, method, options.grid) for method, name in METHODS.items()}
    draw(options.picture, network, points, paths, escape, function, places, maps)
    print(f"picture: {options.picture}")


if __name__ == "__main__":
    main()
