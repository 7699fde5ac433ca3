"""Schedules: a new member is a row of `FORMULAS`."""

import json
import math

import numpy as np
import pytest

import hotloop as hl
from hotloop.errors import HotloopError, InvalidTypeError, InvalidValueError
from hotloop.schedules import SCHEDULES, resolve
from hotloop.specs import spec_from_dict, spec_to_dict

LR, T = 0.8, 40


def one_cycle(t, steps=40, start=0.8 / 25, peak=0.8, end=0.8 / 25 / 1e4, rise=0.3):
    """Smith & Topin as PyTorch has it: two cosines that meet at step rise · steps − 1."""
    top = rise * steps - 1
    first, last, part = (start, peak, t / top) if t <= top else (peak, end, (t - top) / (steps - 1 - top))
    return last + (first - last) / 2 * (math.cos(math.pi * part) + 1)


# Schedule → its formula as a plain function of the step t.
FORMULAS = {
    "constant": (hl.Constant(LR), lambda t: LR),
    # notes/001, the five decays, with α₀ = 0.8 and T = 40.
    "cosine": (hl.Cosine(LR, T), lambda t: LR / 2 * (1 + math.cos(math.pi * t / T)) if t < T else 0.0),
    "exponential": (hl.Exponential(LR, 0.95), lambda t: LR * 0.95**t),
    "step": (hl.Step(LR, 10, 0.1), lambda t: LR * 0.1 ** (t // 10)),
    "linear": (hl.Linear(LR, T), lambda t: LR * (1 - t / T) if t < T else 0.0),
    "inverse square root": (hl.InverseSqrt(LR), lambda t: LR / math.sqrt(t + 1)),
    # Beyond the notes.
    "cosine to an end": (
        hl.Cosine(LR, T, end=0.2), lambda t: 0.2 + 0.3 * (1 + math.cos(math.pi * min(t / T, 1)))
    ),
    "exponential in steps": (hl.Exponential(LR, 0.5, steps=8), lambda t: LR * 0.5 ** (t / 8)),
    "linear up": (hl.Linear(0.1, T, end=LR), lambda t: 0.1 + 0.7 * min(t / T, 1)),
    "inverse square root in steps": (hl.InverseSqrt(LR, 9), lambda t: LR / math.sqrt(1 + t / 9)),
    "polynomial": (hl.Polynomial(LR, T, 3.0, end=0.1), lambda t: 0.1 + 0.7 * (1 - min(t / T, 1)) ** 3),
    "restarts": (hl.CosineRestarts(LR, 10), lambda t: LR / 2 * (1 + math.cos(math.pi * (t % 10) / 10))),
    "longer restarts": (
        hl.CosineRestarts(LR, 10, factor=2),
        lambda t: LR / 2 * (1 + math.cos(math.pi * (t / 10 if t < 10 else (t - 10) / 20 if t < 30
                                                    else (t - 30) / 40 if t < 70 else (t - 70) / 80))),
    ),
    "one cycle": (hl.OneCycle(LR, 40), one_cycle),
    "warm-up to a number": (hl.Warmup(5, LR), lambda t: LR * min((t + 1) / 5, 1)),
    "warm-up to a cosine": (
        hl.Warmup(5, hl.Cosine(LR, 30)),
        lambda t: LR * (t + 1) / 5 if t < 5 else LR / 2 * (1 + math.cos(math.pi * min((t - 5) / 30, 1))),
    ),
    "warm-up to a function": (
        hl.Warmup(5, lambda steps: LR / (1.0 + steps)),
        lambda t: LR * (t + 1) / 5 if t < 5 else LR / (t - 4),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMULAS)
def test_rates_are_those_of_the_formula(name):
    schedule, formula = FORMULAS[name]
    last = 39 if name == "one cycle" else 100
    steps = np.arange(last + 1)
    expected = [formula(int(t)) for t in steps]
    np.testing.assert_allclose(schedule(steps), expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", FORMULAS)
def test_rates_do_not_depend_on_what_was_asked_before(name):
    schedule, _ = FORMULAS[name]
    whole = schedule(np.arange(60))
    assert whole.dtype == np.float64
    assert whole.min() >= 0
    np.testing.assert_array_equal(
        np.concatenate([schedule(np.arange(a, a + 6)) for a in range(0, 60, 6)]), whole
    )
    np.testing.assert_array_equal(schedule(np.arange(60)[::-1])[::-1], whole)
    assert schedule(np.arange(0)).shape == (0,)


@pytest.mark.torch
@pytest.mark.parametrize(
    ("schedule", "peer", "arguments"),
    [
        (hl.OneCycle(LR, T), "OneCycleLR", {"max_lr": LR, "total_steps": T}),
        (hl.CosineRestarts(LR, 7, factor=2), "CosineAnnealingWarmRestarts", {"T_0": 7, "T_mult": 2}),
        (hl.Cosine(LR, T), "CosineAnnealingLR", {"T_max": T}),
        (hl.Step(LR, 6, 0.5), "StepLR", {"step_size": 6, "gamma": 0.5}),
        (hl.Exponential(LR, 0.9), "ExponentialLR", {"gamma": 0.9}),
        (hl.Polynomial(LR, T, 2.0), "PolynomialLR", {"total_iters": T, "power": 2.0}),
    ],
)
def test_rates_are_those_of_pytorch(schedule, peer, arguments):
    torch = pytest.importorskip("torch", reason="PyTorch is the peer here, and is not installed")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR)
    other = getattr(torch.optim.lr_scheduler, peer)(optimizer, **arguments)
    rates = []
    for _ in range(T - 1):
        rates.append(other.get_last_lr()[0])
        optimizer.step()
        other.step()
    np.testing.assert_allclose(schedule(np.arange(T - 1)), rates, rtol=1e-9, atol=1e-12)


def test_training_follows_the_schedule():
    """Without curvature each step moves the bias by its rate: θ counts the rates up."""
    X, y = np.zeros((6, 1)), np.zeros(6)
    model = hl.Sequential([hl.Dense(1)], input_dim=1, dtype="float64")
    schedule = hl.Warmup(3, hl.Linear(0.1, 9))
    trainer = hl.Trainer(model, loss="mse", optimizer=hl.SGD(schedule), batch_size=2)
    model.theta[:] = [0.0, 1.0]
    expected = 1.0
    for epoch in range(4):
        trainer.fit(X, y, epochs=1)
        for rate in schedule(np.arange(3 * epoch, 3 * epoch + 3)):
            expected *= 1 - 2 * rate
        assert model.theta[1] == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize(
    ("make", "error", "name"),
    [
        (lambda: hl.Constant(-1), InvalidValueError, "lr"),
        (lambda: hl.Cosine(LR, 0), InvalidValueError, "steps"),
        (lambda: hl.Cosine(LR, 1.5), InvalidTypeError, "steps"),
        (lambda: hl.Cosine(LR, 10**400), InvalidValueError, "steps"),
        (lambda: hl.Cosine(LR, T, end=-1), InvalidValueError, "end"),
        (lambda: hl.CosineRestarts(LR, T, factor=0.5), InvalidValueError, "factor"),
        (lambda: hl.Exponential(LR, 0.0), InvalidValueError, "gamma"),
        (lambda: hl.Exponential(LR, 1.1), InvalidValueError, "gamma"),
        (lambda: hl.Step(LR, T, gamma=2), InvalidValueError, "gamma"),
        (lambda: hl.Linear("fast", T), InvalidTypeError, "lr"),
        (lambda: hl.Polynomial(LR, T, power=0), InvalidValueError, "power"),
        (lambda: hl.InverseSqrt(LR, -1), InvalidValueError, "steps"),
        (lambda: hl.Warmup(0, LR), InvalidValueError, "steps"),
        (lambda: hl.Warmup(3, "later"), InvalidTypeError, "then"),
        (lambda: hl.Warmup(3, hl.Cosine), InvalidTypeError, "then"),
        (lambda: hl.Warmup(epochs=3), InvalidTypeError, "then"),
        (lambda: hl.Cosine(LR, epochs=0), InvalidValueError, "epochs"),
        (lambda: hl.Cosine(LR, epochs=-1), InvalidValueError, "epochs"),
        (lambda: hl.Cosine(LR, epochs=math.inf), InvalidValueError, "epochs"),
        (lambda: hl.Cosine(LR, epochs="ten"), InvalidTypeError, "epochs"),
        (lambda: hl.Cosine(LR, epochs=1).in_steps(0), InvalidValueError, "steps_per_epoch"),
        (lambda: hl.Cosine(LR, epochs=1).in_steps(1.5), InvalidTypeError, "steps_per_epoch"),
        (lambda: hl.OneCycle(LR, 1), InvalidValueError, "steps"),
        (lambda: hl.OneCycle(LR, T, rise=0), InvalidValueError, "rise"),
        (lambda: hl.OneCycle(LR, T, start_factor=0.5), InvalidValueError, "start_factor"),
    ],
)
def test_arguments_are_checked(make, error, name):
    with pytest.raises(HotloopError) as caught:
        make()
    assert type(caught.value) is error
    assert str(caught.value).startswith(f"{name}:")


def test_repr_says_what_is_needed_to_make_it_again():
    for schedule, _ in FORMULAS.values():
        if "function" not in repr(schedule):
            assert eval(repr(schedule), vars(hl).copy()) == schedule


def test_every_member_is_in_the_table():
    assert {type(schedule) for schedule, _ in FORMULAS.values()} == set(SCHEDULES)
    assert {type(schedule) for schedule, _ in EPOCHS.values()} == {*SCHEDULES} - {hl.Constant}


# In epochs → the same in steps, with 8 steps an epoch.
EPOCHS = {
    "cosine": (hl.Cosine(LR, epochs=5, end=0.1), hl.Cosine(LR, T, end=0.1)),
    "restarts": (hl.CosineRestarts(LR, epochs=1.5, factor=2), hl.CosineRestarts(LR, 12, factor=2)),
    "exponential": (hl.Exponential(LR, 0.9, epochs=1), hl.Exponential(LR, 0.9, 8)),
    "step": (hl.Step(LR, epochs=2, gamma=0.5), hl.Step(LR, 16, 0.5)),
    "polynomial": (hl.Polynomial(LR, epochs=5, power=3), hl.Polynomial(LR, T, 3)),
    "linear": (hl.Linear(LR, epochs=5), hl.Linear(LR, T)),
    "inverse square root": (hl.InverseSqrt(LR, epochs=0.5), hl.InverseSqrt(LR, 4)),
    "one cycle": (hl.OneCycle(LR, epochs=5, rise=0.4), hl.OneCycle(LR, T, 0.4)),
    "warm-up": (hl.Warmup(epochs=0.5, then=hl.Cosine(LR, epochs=5)), hl.Warmup(4, hl.Cosine(LR, T))),
    "warm-up in epochs alone": (hl.Warmup(epochs=1, then=LR), hl.Warmup(8, LR)),
    "what follows alone": (hl.Warmup(3, hl.Linear(LR, epochs=5)), hl.Warmup(3, hl.Linear(LR, T))),
    "warm-up in a warm-up": (
        hl.Warmup(3, hl.Warmup(2, hl.Step(LR, epochs=1))), hl.Warmup(3, hl.Warmup(2, hl.Step(LR, 8)))
    ),
    "less than a step": (hl.Linear(LR, epochs=0.01), hl.Linear(LR, 1)),
    "the shortest cycle": (hl.OneCycle(LR, epochs=0.01), hl.OneCycle(LR, 2)),
}  # fmt: skip
in_epochs = pytest.mark.parametrize(("given", "expected"), EPOCHS.values(), ids=EPOCHS)


@in_epochs
def test_epochs_become_steps(given, expected):
    found = given.in_steps(8)
    assert found == expected == resolve(given, 8)
    np.testing.assert_array_equal(found(np.arange(60)), expected(np.arange(60)))
    assert found.in_steps(5) is found


@in_epochs
def test_a_length_in_epochs_is_not_guessed(given, expected):
    with pytest.raises(
        InvalidValueError, match=r"is given in epochs; call \.in_steps\(steps_per_epoch\) first"
    ):
        given([0, 1])


@in_epochs
def test_what_was_given_is_shown_and_kept_in_files(given, expected):
    for schedule in (given, expected):
        assert eval(repr(schedule), vars(hl).copy()) == schedule
        assert "None" not in repr(schedule)
        entry = json.loads(json.dumps(spec_to_dict(schedule, "lr")))
        assert spec_from_dict(entry, {kind.__name__: kind for kind in SCHEDULES}) == schedule
    assert "epochs" in repr(given)
    assert "epochs" not in repr(expected)


@pytest.mark.parametrize("kind", [kind for kind in SCHEDULES if kind is not hl.Constant])
def test_steps_and_epochs_are_not_given_both(kind):
    arguments = {"gamma": 0.5} if kind is hl.Exponential else {}
    arguments |= {"then": LR} if kind is hl.Warmup else {"lr": LR}
    with pytest.raises(InvalidValueError, match="either steps or epochs, got steps=4 and epochs=2"):
        kind(steps=4, epochs=2, **arguments)
    if kind in (hl.Exponential, hl.InverseSqrt):
        assert kind(**arguments).steps == 1
    else:
        with pytest.raises(InvalidValueError, match="either steps or epochs, got neither"):
            kind(**arguments)


def test_what_has_no_epochs_is_left_as_it_is():
    def mine(steps):
        return 1.0 / (1.0 + steps)

    for lr in (
        0.1,
        mine,
        hl.Constant(0.1),
        hl.Cosine(LR, T),
        hl.Warmup(3, hl.Linear(LR, T)),
        hl.Warmup(3, mine),
    ):
        assert resolve(lr, 7) is lr
