"""Packages beyond the core: imported where they are used, with the command that installs them."""

import importlib
from types import ModuleType

from hotloop.errors import MissingExtraError

__all__ = ["require"]


def require(module: str, extra: str, purpose: str) -> ModuleType:
    """The `module`, or a `MissingExtraError` that says how to install it; `purpose` names what needs it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != package:
            raise  # the package is there, and lacks something itself
        raise MissingExtraError(
            f"{purpose} needs {package}, which is not installed; run: pip install 'hotloop[{extra}]'"
        ) from error
