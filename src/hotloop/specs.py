"""Frozen descriptions (optimizers, schedules, losses) as plain dictionaries, for files: data, never code."""

import numbers
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from hotloop.errors import InvalidTypeError

__all__ = ["spec_from_dict", "spec_to_dict"]


def spec_to_dict(spec: Any, name: str) -> dict[str, Any]:
    """Type and fields of a frozen dataclass, as JSON can hold them; `name` is for the error.

    Raises
    ------
    InvalidTypeError
        If a field is a function of the user's own.
    """
    values = {f.name: _to_plain(getattr(spec, f.name), f"{name}.{f.name}") for f in fields(spec)}
    return {"type": type(spec).__name__} | values


def spec_from_dict(entry: Mapping[str, Any], kinds: Mapping[str, type]) -> Any:
    """The description whose `spec_to_dict` this is, if its types are among `kinds`."""
    values = {name: _from_plain(value, kinds) for name, value in entry.items() if name != "type"}
    return kinds[entry["type"]](**values)


def _to_plain(value: Any, name: str) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return spec_to_dict(value, name)
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    if isinstance(value, tuple):
        return [_to_plain(item, name) for item in value]
    if isinstance(value, Mapping):  # JSON's own objects have only text for keys
        return {"pairs": [[_to_plain(k, name), _to_plain(v, name)] for k, v in value.items()]}
    raise InvalidTypeError(
        f"{name}: {value!r} cannot be written to a file, which holds data and never code; "
        "use one of hotloop's schedules, or save the model alone"
    )


def _from_plain(value: Any, kinds: Mapping[str, type]) -> Any:
    if isinstance(value, dict):
        return dict(value["pairs"]) if "pairs" in value else spec_from_dict(value, kinds)
    if isinstance(value, list):
        return tuple(_from_plain(item, kinds) for item in value)
    return value
