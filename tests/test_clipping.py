"""Clipping of gradients: against NumPy and PyTorch, and the norm that is reported."""

import copy

import numpy as np
import pytest

import hotloop as hl
import reference
from helpers import classes, loss_and_gradient, net, refuses
from hotloop._jit import COMPILED

pytestmark = pytest.mark.skipif(not COMPILED, reason="the face is tested compiled")

X, Y = classes(75)
CLIPS = {"clip_norm": 0.2, "clip_value": 0.02}
"""Well below the first gradients' norm and numbers, and above some of them."""
each_clip = pytest.mark.parametrize("clip", CLIPS)


def trainer_of(model=None, **options):
    return hl.Trainer(
        net(4, 8, 3) if model is None else model, loss="softmax_cross_entropy",
        **{"optimizer": hl.SGD(0.5), "batch_size": 16} | options,
    )  # fmt: skip


def normalised(dtype="float64"):
    """A network with all kinds of parameters."""
    layers = [hl.Dense(8, use_bias=False), hl.BatchNorm(), hl.Activation("prelu"), hl.Dense(3)]
    return hl.Sequential(layers, input_dim=4, dtype=dtype)


@each_clip
@pytest.mark.parametrize("penalty", [None, hl.L2(0.5)])
def test_20_steps_are_those_of_a_loop_in_numpy(clip, penalty):
    trainer = trainer_of(penalty=penalty, **{clip: CLIPS[clip]})
    slow, norms, clipped = copy.deepcopy(trainer.model), [], 0
    reporting = "gradient_norm" if clip == "clip_norm" else None
    history = trainer.fit(X, Y, epochs=4, shuffle=False)
    for first in [0, 16, 32, 48, 64] * 4:
        rows = slice(first, first + 16)
        _, gradient = loss_and_gradient(slow, X[rows], Y[rows], "softmax_cross_entropy")
        if penalty is not None:
            for name, w in slow.parameters().items():
                if "kernel" in name:
                    slow.views(gradient)[name][...] += penalty.strength * w
        norms.append(np.linalg.norm(gradient))
        before = gradient
        if clip == "clip_norm":
            gradient = reference.clip_norm(gradient, CLIPS[clip])
        else:
            gradient = np.clip(gradient, -CLIPS[clip], CLIPS[clip])
        clipped += (before != gradient).any()
        slow.theta[:] -= 0.5 * gradient
    assert clipped >= 10
    np.testing.assert_allclose(trainer.model.theta, slow.theta, rtol=1e-9, atol=1e-12)
    assert ("gradient_norm" in history) == (reporting is not None)
    if reporting:
        np.testing.assert_allclose(history[reporting], np.mean(np.reshape(norms, (4, 5)), axis=1), rtol=1e-10)


@pytest.mark.torch
@each_clip
@pytest.mark.parametrize("strength", [0.0, 0.3])
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_20_steps_are_those_of_pytorch(clip, strength, optimizer):
    """With batch normalisation, slopes, and a penalty, which is part of the gradient."""
    torch = pytest.importorskip("torch")
    ours = {"SGD": hl.SGD(0.1, momentum=0.9), "Adam": hl.Adam(0.02)}[optimizer]
    model = normalised()
    trainer = trainer_of(
        model, optimizer=ours, batch_size=None, penalty=hl.L2(strength), **{clip: CLIPS[clip]}
    )
    first, norm, last = torch.nn.Linear(4, 8, bias=False), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 3)
    peer = torch.nn.Sequential(first, norm, torch.nn.PReLU(8), last).double()
    ordered = {
        "dense_0/kernel": first.weight, "batchnorm_0/gamma": norm.weight,
        "batchnorm_0/beta": norm.bias, "activation_0/slope": peer[2].weight,
        "dense_1/kernel": last.weight, "dense_1/bias": last.bias,
    }  # fmt: skip
    assert list(ordered) == list(model.parameters())
    with torch.no_grad():
        for name, parameter in ordered.items():
            parameter[:] = torch.tensor(model.parameters()[name].T.copy())
    make = {"SGD": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
            "Adam": lambda p: torch.optim.Adam(p, lr=0.02)}[optimizer]  # fmt: skip
    step_of = make(peer.parameters())
    clipped = 0
    for _ in range(20):
        step_of.zero_grad()
        loss = torch.nn.functional.cross_entropy(peer(torch.tensor(X)), torch.tensor(Y))
        squares = (first.weight**2).sum() + (last.weight**2).sum()
        (loss + strength / 2 * squares).backward()
        if clip == "clip_norm":
            found = torch.nn.utils.clip_grad_norm_(peer.parameters(), np.inf).item()
            clipped += found > CLIPS[clip]
            # PyTorch divides by norm + 1e-6 where we divide by the norm.
            most = CLIPS[clip] * ((found + 1e-6) / found if found > CLIPS[clip] else 1)
            torch.nn.utils.clip_grad_norm_(peer.parameters(), most)
        else:
            clipped += max(p.grad.abs().max().item() for p in peer.parameters()) > CLIPS[clip]
            torch.nn.utils.clip_grad_value_(peer.parameters(), CLIPS[clip])
        step_of.step()
    assert clipped >= 5
    trainer.fit(X, Y, epochs=20, shuffle=False)
    for name, parameter in ordered.items():
        expected = parameter.detach().numpy().T
        np.testing.assert_allclose(model.parameters()[name], expected, rtol=1e-10, atol=1e-11, err_msg=name)


@each_clip
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("penalty", [None, hl.L1(0.01, proximal=True)])
def test_threads_and_blocks_change_nothing(clip, dtype, penalty, monkeypatch):
    def trained(n_threads=1):
        trainer = trainer_of(
            normalised(dtype), n_threads=n_threads, optimizer=hl.Adam(0.01), penalty=penalty,
            **{clip: CLIPS[clip]},
        )  # fmt: skip
        trainer.fit(X, Y, epochs=4, callbacks=hl.GradientTolerance(1e-9))
        return trainer

    whole = trained()
    for n_threads in (2, 3, 5):
        other = trained(n_threads)
        np.testing.assert_array_equal(other.model.theta, whole.model.theta)
        assert dict(other.history) == dict(whole.history)
    monkeypatch.setattr("hotloop.session.BLOCK_SECONDS", 1e-12)
    other = trained()
    np.testing.assert_array_equal(other.model.theta, whole.model.theta)
    assert dict(other.history) == dict(whole.history)


@pytest.mark.parametrize("penalty", [None, hl.L2(0.3), hl.L1(0.1)])
@pytest.mark.parametrize("n_threads", [1, 3])
def test_the_norm_that_is_reported_is_that_of_the_gradient(penalty, n_threads):
    model = normalised()
    trainer = trainer_of(model, penalty=penalty, batch_size=None, n_threads=n_threads)
    for _ in range(3):
        objective = hl.Objective(model, X, Y, loss="softmax_cross_entropy", penalty=penalty, training=True)
        expected = np.linalg.norm(objective.gradient(model.theta))
        history = trainer.fit(X, Y, epochs=1, callbacks=hl.GradientTolerance(1e-9), shuffle=False)
        assert history["gradient_norm"][-1] == pytest.approx(expected, rel=1e-12)


@each_clip
def test_what_is_not_clipped_is_not_changed(clip):
    """To the last bit, although the norm takes a pass of its own."""
    plain, other = trainer_of(normalised()), trainer_of(normalised(), **{clip: 1e9})
    for trainer in (plain, other):
        trainer.fit(X, Y, epochs=3)
    np.testing.assert_array_equal(other.model.theta, plain.model.theta)


@each_clip
def test_a_trainer_with_it_is_saved_and_goes_on(clip, tmp_path):
    whole, first = (trainer_of(**{clip: CLIPS[clip]}) for _ in range(2))
    whole.fit(X, Y, epochs=5)
    first.fit(X, Y, epochs=2)
    first.save(tmp_path / "training")
    second = hl.Trainer.load(tmp_path / "training")
    assert getattr(second, clip) == CLIPS[clip]
    assert repr(second) == repr(first)
    assert f"{clip}={CLIPS[clip]}" in repr(first)
    second.fit(X, Y, epochs=3)
    np.testing.assert_array_equal(second.model.theta, whole.model.theta)
    assert dict(second.history) == dict(whole.history)


def test_only_one_of_them_is_given():
    with refuses(ValueError, "clip_norm, clip_value"):
        trainer_of(**CLIPS)


@each_clip
@pytest.mark.parametrize(
    ("value", "error"), [(0, ValueError), (-1, ValueError), (np.nan, ValueError), ("a", TypeError)]
)
def test_wrong_arguments_are_named(clip, value, error):
    with refuses(error, clip):
        trainer_of(**{clip: value})
