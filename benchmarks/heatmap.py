"""GFLOP/s of a dense layer's three products, over inputs, units and batch, with OpenBLAS's beside.

A map for each pass and batch: inputs from the bottom up, units from left to right, in powers of two. The
third of each group is how many times as fast hotloop is, blue where it is ahead. One thread, float32.

    python benchmarks/heatmap.py --picture heatmap.png    # a minute or two
    python benchmarks/heatmap.py --coarse                 # fewer sizes
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from report import machine
from suite.kernels import peak
from suite.products import PASSES, Product

BATCHES = [1, 32, 256]
LIBRARIES = ["hotloop", "OpenBLAS", "ratio"]
FARTHEST = 8
"""Ratios from 1 / 8 to 8 have colours of their own."""


def measure(which, batch, sizes):
    """GFLOP/s (2, inputs, units) of hotloop and OpenBLAS."""
    found = [[Product(which, batch, inputs, units).rates() for units in sizes] for inputs in sizes]
    return np.moveaxis(np.array(found), -1, 0)


def colours(library, most):
    """How a map of this kind is coloured."""
    if library == "ratio":
        return {"cmap": "RdBu", "norm": LogNorm(1 / FARTHEST, FARTHEST)}
    return {"cmap": "magma", "vmin": 0, "vmax": most}


def label_axes(ax, sizes, outer_left, outer_bottom):
    """Sizes along the outer axes alone."""
    ticks = range(0, len(sizes), max(1, len(sizes) // 4))
    labels = [sizes[k] for k in ticks]
    ax.set_xticks(ticks, labels if outer_bottom else [])
    ax.set_yticks(ticks, labels if outer_left else [])
    ax.tick_params(length=0, labelsize=7)
    ax.spines[:].set_visible(False)


def lay_out(figure):
    """Axes (passes, batches, libraries), with some room between the batches."""
    groups = figure.subfigures(1, len(BATCHES) + 1, width_ratios=[1.17, 1, 1, 0.34], wspace=0.03)
    axes = [group.subplots(len(PASSES), len(LIBRARIES)) for group in groups[:-1]]
    for group, batch in zip(groups, BATCHES, strict=False):
        group.suptitle(f"batch {batch}", fontsize=11)
    return np.stack(axes, axis=1), groups[-1].subplots(1, 2)


def draw(rates, sizes, most, about, path):
    """`rates` are {(pass, batch): (2, inputs, units)}; `most` is the processor's peak."""
    figure = Figure(figsize=(14, 5.4), layout="constrained")
    axes, bars = lay_out(figure)
    for (which, batch), (ours, theirs) in rates.items():
        group = axes[PASSES.index(which), BATCHES.index(batch)]
        for ax, library, values in zip(group, LIBRARIES, (ours, theirs, ours / theirs), strict=True):
            image = ax.imshow(values, origin="lower", **colours(library, most))
            first, last = which == PASSES[0], which == PASSES[-1]
            label_axes(ax, sizes, batch == BATCHES[0] and library == "hotloop", last)
            if first:
                ax.set_title(library, fontsize=9)
            if last:
                ax.set_xlabel("units", fontsize=8)
            bar = bars[1 if library == "ratio" else 0]
            if first and batch == BATCHES[0] and library != "OpenBLAS":
                add_bar(figure, image, bar, library)
    for ax, which in zip(axes[:, 0, 0], PASSES, strict=True):
        ax.set_ylabel(f"{which}\ninputs", fontsize=9)
    figure.supxlabel(
        f"A dense layer's products, float32, one thread, at most {most:.0f} GFLOP/s; {about}",
        fontsize=7, color="#666666", x=0.01, ha="left",
    )  # fmt: skip
    figure.savefig(path, dpi=130)


def add_bar(figure, image, ax, library):
    """The scale of the rates, or of the ratios."""
    bar = figure.colorbar(image, cax=ax)
    bar.ax.set_title("GFLOP/s" if library != "ratio" else "times as\nfast", fontsize=8)
    bar.outline.set_visible(False)
    if library == "ratio":
        bar.set_ticks([1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8], labels=["⅛", "¼", "½", "1", "2", "4", "8"])
        bar.ax.minorticks_off()
    bar.ax.tick_params(labelsize=7, length=2)


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--coarse", action="store_true", help="every third size")
    parser.add_argument("--picture", type=Path, default=Path("heatmap.png"), metavar="FILE")
    return parser.parse_args()


def main():
    """Measure, and draw."""
    options = arguments()
    sizes = [2**k for k in range(0, 12, 3 if options.coarse else 1)]
    rates = {(which, batch): measure(which, batch, sizes) for which in PASSES for batch in BATCHES}
    draw(rates, sizes, peak(), machine(["hotloop"]), options.picture)
    for (which, batch), (ours, theirs) in rates.items():
        median = np.median(ours / theirs)
        print(f"{which}, batch {batch}: {median:.2f} times OpenBLAS's rate in the median")


if __name__ == "__main__":
    main()
