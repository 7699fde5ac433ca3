"""What `peers.py` has measured: as a table, as a picture, and on which machine."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np

from contestants import installed

Results = dict[str, dict[str, list[float]]]
"""µs a step: by case, by contestant, of each round."""

COLOURS = {"hotloop": "#d1495b", "PyTorch": "#e8a33d", "JAX": "#3a7ca5", "scikit-learn": "#8a8f98"}


def processor() -> tuple[str, str]:
    """Its name and its widest vectors, as the system knows them."""
    try:
        found = dict(
            line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line
        )
        lines = {key.strip(): value.strip() for key, value in found.items()}
        flags = lines.get("flags", "").split()
        widest = next((name for flag, name in VECTORS.items() if flag in flags), "no AVX")
        return lines["model name"], widest
    except (OSError, KeyError):
        return platform.processor() or platform.machine(), platform.machine()


VECTORS = {"avx512f": "AVX-512", "avx2": "AVX2", "avx": "AVX"}


def machine(names: list[str]) -> str:
    """What a figure must never be quoted without."""
    name, vectors = processor()
    versions = ", ".join(f"{contestant} {installed(contestant)}" for contestant in names)
    return (
        f"{name} ({vectors}), {os.cpu_count()} processors; {platform.system()}, "
        f"Python {platform.python_version()}, NumPy {np.__version__}, numba {version('numba')}; {versions}"
    )


def threads_in_words(threads: int) -> str:
    """For a heading."""
    return "one thread" if threads == 1 else f"{threads} threads"


def table(results: Results, names: list[str], limits: dict[str, float]) -> str:
    """Markdown: each contestant's fastest round, how far above it the median is, and ratios to hotloop.

    `limits` has for each case the µs that a step's products would take at the processor's peak.
    """
    peers = names[1:]
    head = ["widths @ batch", *(f"{name}, µs a step" for name in names), *(f"vs {name}" for name in peers)]
    head.append("hotloop, of the peak")
    lines = [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}"]
    for case, found in results.items():
        best = {name: min(times) for name, times in found.items()}
        cells = [f"{best[name]:,.1f} (+{np.median(found[name]) / best[name] - 1:.0%})" for name in names]
        cells += [f"{best[name] / best['hotloop']:.2f} ×" for name in peers]
        cells.append(f"{limits[case] / best['hotloop']:.0%}")
        lines.append(f"| {' | '.join([case, *cells])} |")
    return "\n".join(lines)


def picture(by_threads: dict[int, Results], names: list[str], about: str, path: Path) -> None:
    """A row for each case: µs a step of each contestant, from its fastest round to its median.

    At its end stands how many times as fast as the nearest peer hotloop is.
    """
    from matplotlib.figure import Figure

    n_cases = max(len(results) for results in by_threads.values())
    size = (1.5 + 5.2 * len(by_threads), 1.9 + 0.42 * n_cases)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(1, len(by_threads), sharex=True, sharey=True, squeeze=False)[0]
    for ax, (threads, results) in zip(axes, by_threads.items(), strict=True):
        _draw_cases(ax, results, names)
        ax.set_title(threads_in_words(threads), fontsize=10, loc="left")
        ax.set_xlabel("µs a step: fastest round, and on to the median", fontsize=9)
    axes[0].invert_yaxis()
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=len(names), frameon=False)
    figure.supxlabel(about.replace("; ", "\n"), fontsize=7, color="#666666", x=0.01, ha="left")
    figure.savefig(path, dpi=150)


def _draw_cases(ax, results: Results, names: list[str]) -> None:
    for k, found in enumerate(results.values()):
        best = {name: min(times) for name, times in found.items()}
        ax.plot([min(best.values()), max(best.values())], [k, k], color="#dddddd", lw=6, zorder=1)
        nearest = min((best[name] for name in names[1:]), default=best["hotloop"])
        ax.annotate(
            f"{nearest / best['hotloop']:.2f} ×",
            (1, k), xycoords=("axes fraction", "data"), va="center", ha="right", fontsize=8, color="#444444",
        )  # fmt: skip
    rows = np.arange(len(results))
    for name in names:
        times = [results[case][name] for case in results]
        best, median = np.array([(min(some), np.median(some)) for some in times]).T
        ax.hlines(rows, best, median, color=COLOURS[name], lw=2, zorder=2)
        ax.plot(
            best,
            rows,
            "o",
            ms=7,
            mec="white",
            color=COLOURS[name],
            label=name,
            zorder=4 if name == "hotloop" else 3,
        )
    ax.set_xscale("log")
    ax.minorticks_off()
    ax.margins(x=0.14)
    ax.set_title("nearest peer / hotloop", fontsize=8, loc="right", color="#444444")
    ax.set_yticks(rows, list(results))
    ax.tick_params(length=0, labelsize=9)
    ax.grid(axis="x", color="#eeeeee")
    ax.set_axisbelow(True)
    ax.spines[:].set_visible(False)
