"""How strong a penalty is, said in the ways of scikit-learn's older and newer versions."""

import math
import warnings
from typing import Any, NamedTuple

import numpy as np

from hotloop._checks import check_choice, check_number
from hotloop.errors import InvalidValueError

__all__ = ["Strength", "strength_of"]


class Strength(NamedTuple):
    """How much of the penalty is ‖W‖₁, and C, infinite for no penalty."""

    l1_ratio: float
    C: float


def strength_of(penalty: Any, l1_ratio: Any, C: Any) -> Strength:
    """What `penalty`, `l1_ratio` and `C` say together, by the rules of scikit-learn 1.8."""
    ratio = 0.0 if l1_ratio is None else check_number(l1_ratio, "l1_ratio", low=0.0)
    if ratio > 1:
        raise InvalidValueError(f"l1_ratio: must be from 0 to 1, got {l1_ratio!r}")
    if not (isinstance(C, (float, np.floating)) and C > 0 and np.isinf(C)):
        C = check_number(C, "C", low=0.0)
    if C == 0:
        raise InvalidValueError("C: must be above 0, got 0; a small one is a strong penalty")
    if penalty == "deprecated":
        return Strength(ratio, C)
    if penalty is None:
        if C != 1.0:
            warnings.warn(f"penalty=None: C={C!r} is ignored", stacklevel=4)
        return Strength(0.0, math.inf)
    check_choice(penalty, "penalty", ("l1", "l2", "elasticnet"))
    if penalty == "elasticnet":
        if l1_ratio is None:
            raise InvalidValueError("l1_ratio: penalty='elasticnet' needs a number from 0 to 1")
        return Strength(ratio, C)
    meant = 1.0 if penalty == "l1" else 0.0
    if ratio not in (0.0, meant):
        warnings.warn(f"penalty={penalty!r}: l1_ratio={ratio:g} is ignored", stacklevel=4)
    return Strength(meant, C)
