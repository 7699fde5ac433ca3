"""``python -m hotloop``: warm the cache of compiled kernels, clean it, and say what is installed."""

import argparse
import sys
from collections.abc import Sequence

from hotloop._jit import cache_folder
from hotloop.errors import HotloopError
from hotloop.folders import contents, kernel_folders, remove
from hotloop.versions import show_versions
from hotloop.warming import warmup

__all__ = ["main"]

DTYPES = ["float32", "float64"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, by default that of the command line; returns the exit code."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.command is None:
        parser.print_help()
        return 0
    try:
        given.command(given)
    except HotloopError as error:
        print(f"hotloop: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m hotloop", description=__doc__)
    parser.set_defaults(command=None)
    commands = parser.add_subparsers(title="commands")
    warm = commands.add_parser("warmup", help="compile what is usual now, so that no later first call does")
    warm.add_argument("--all", action="store_true", help="every optimizer, loss, layer and estimator")
    warm.add_argument("--dtype", nargs="+", choices=DTYPES, default=DTYPES, help="of models; default both")
    warm.set_defaults(command=_warmup)
    info = commands.add_parser("info", help="versions, processor, and how the cache stands")
    info.set_defaults(command=lambda given: show_versions())
    clean = commands.add_parser("clean", help="remove kernels of other versions and processors")
    clean.set_defaults(command=lambda given: _clean())
    return parser


def _warmup(given: argparse.Namespace) -> None:
    print(warmup("all" if given.all else "usual", dtypes=given.dtype, progress=True))


def _clean() -> None:
    """Remove every folder of compiled kernels but the one in use."""
    current = cache_folder()
    old = [] if current is None else [path for path in kernel_folders(current.parent) if path != current]
    size = sum(contents(path).size for path in old)
    for path in old:
        remove(path)
    print(f"{len(old)} folders of compiled kernels removed, {size / 1e6:.1f} MB; kept {current}")


if __name__ == "__main__":
    sys.exit(main())
