"""Plans of steps: the same numbers however many are asked for at a time."""

import numpy as np
import pytest

import hotloop as hl
from hotloop.planning import STEPS_AHEAD, Plans

GROUPS = np.array([1.0, 0.25])
OPTIMIZERS = {
    "Adam": hl.Adam(1e-3),
    "NAdam": hl.NAdam(1e-3),
    "ScheduleFreeAdamW": hl.ScheduleFreeAdamW(1e-2, warmup_steps=7),
    "a schedule": hl.SGD(hl.Exponential(0.1, 0.9)),
    "a function": hl.Adam(lambda steps: 1e-3 / (1 + steps)),
}


def expected(optimizer, steps, factor, average):
    """Scalars, rates, average's rates: each step by itself."""
    scalars, rates = [], []
    for group in GROUPS:
        own = [factor * group * float(optimizer.rates(np.array([s]))[0]) for s in steps]
        rates.append(own)
        each = [optimizer.scalars(np.array([s]), np.array([r]))[0] for s, r in zip(steps, own, strict=True)]
        scalars.append(each)
    averages = [0.0 if average is None else average.rates(np.array([s]), 5)[0] for s in steps]
    return np.array(scalars), np.array(rates), np.array(averages)


@pytest.mark.parametrize("average", [None, hl.EMA(0.9), hl.SWA(epochs=2)], ids=str)
@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_a_plan_has_the_numbers_of_its_steps(optimizer, average):
    """Also over the end of what was made ahead, back to earlier steps, and with another factor."""
    plans = Plans(GROUPS, average)
    for first, n, factor in ((0, 3, 1.0), (3, 4, 1.0), (STEPS_AHEAD - 2, 5, 1.0), (4, 2, 1.0), (6, 2, 0.5)):
        plan = plans.of(first, n, optimizer, factor, 5)
        found = plan.scalars, plan.rates, plan.average_rates
        assert all(part.flags.c_contiguous for part in found)
        for part, twin in zip(
            found, expected(optimizer, range(first, first + n), factor, average), strict=True
        ):
            np.testing.assert_allclose(part, twin, rtol=1e-13)


def test_another_optimizer_or_length_of_an_epoch_makes_another_plan():
    plans = Plans(GROUPS, hl.SWA(epochs=1))
    plans.of(0, 2, hl.SGD(0.1), 1.0, 5)
    assert plans.of(0, 1, hl.SGD(0.2), 1.0, 5).rates[0, 0] == 0.2
    np.testing.assert_array_equal(plans.of(0, 6, hl.SGD(0.2), 1.0, 3).average_rates, [0, 0, 0, 0, 0, 1])


def test_a_function_is_asked_for_no_step_ahead():
    """It may read what a callback sets between two blocks."""
    asked, now = [], {"rate": 0.5}

    def rate(steps):
        asked.append(list(steps))
        return np.full(len(steps), now["rate"])

    plans, optimizer = Plans(GROUPS, None), hl.SGD(rate)
    asked.clear()
    assert plans.of(0, 2, optimizer, 1.0, 5).rates[0, 1] == 0.5
    now["rate"] = 0.125
    assert plans.of(2, 1, optimizer, 1.0, 5).rates[0, 0] == 0.125
    assert asked == [[0, 1], [2]]
