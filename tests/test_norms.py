"""Norms of the weights: by NumPy's own, and by the inequalities between them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import hotloop as hl
from helpers import refuses


def norms_of(kernel, bias=None, dtype="float64"):
    """Norms of (kernel, bias) as those of a layer."""
    fan_in, units = kernel.shape
    model = hl.Sequential([hl.Dense(units)], input_dim=fan_in, dtype=dtype)
    bias = np.zeros(units) if bias is None else bias
    model.theta[:] = np.concatenate([np.ravel(kernel), bias])
    return tuple(hl.norms(model).values())


matrices = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
    elements=st.sampled_from([0.0, 1.0, -2.0]) | st.floats(-1e3, 1e3, allow_subnormal=False),
)


@given(matrices)
def test_norms_are_those_of_numpy(W):
    found, _ = norms_of(W)
    entries = W.ravel()
    assert found.l0 == np.linalg.norm(entries, 0) == sum(w != 0 for w in entries)
    assert found.l1 == pytest.approx(np.linalg.norm(entries, 1), rel=1e-13)
    assert found.linf == np.linalg.norm(entries, np.inf)
    for value, order in [("l2", "fro"), ("frobenius", "fro"), ("nuclear", "nuc"), ("spectral", 2)]:
        # Squares of entries below 1e-154 are 0 to NumPy.
        assert getattr(found, value) == pytest.approx(np.linalg.norm(W, order), rel=1e-12, abs=1e-150)


@given(matrices)
def test_norms_bound_each_other(W):
    """Each side of ``notes/002``'s equivalence, with its constant."""
    n, _ = norms_of(W)
    more = 1 + 1e-12
    assert n.linf <= n.l2 * more <= n.l1 * more**2
    assert n.l2 <= math.sqrt(n.l0) * n.linf * more
    assert n.l1 <= math.sqrt(n.l0) * n.l2 * more
    assert n.linf <= n.spectral * more
    assert n.spectral <= n.frobenius * more <= n.nuclear * more**2
    rank = min(W.shape)
    assert n.nuclear <= math.sqrt(rank) * n.frobenius * more
    assert n.frobenius <= math.sqrt(rank) * n.spectral * more
    assert n.frobenius**2 <= n.spectral * n.nuclear * more


@given(matrices, st.sampled_from([-3.0, 0.5, 1e150, 1e-150]))
def test_norms_scale_with_the_weights(W, factor):
    W = np.where(np.abs(W) < 1e-3, 0.0, W)
    once, scaled = norms_of(W)[0], norms_of(factor * W)[0]
    assert scaled.l0 == once.l0
    for name in ("l1", "l2", "linf", "frobenius", "nuclear", "spectral"):
        assert getattr(scaled, name) == pytest.approx(abs(factor) * getattr(once, name), rel=1e-12)


@given(matrices, st.integers(0, 2**32 - 1))
def test_the_triangle_inequality_holds(W, seed):
    other = np.random.default_rng(seed).normal(scale=100, size=W.shape)
    a, b, both = norms_of(W)[0], norms_of(other)[0], norms_of(W + other)[0]
    for name in ("l1", "l2", "linf", "frobenius", "nuclear", "spectral"):
        assert getattr(both, name) <= (getattr(a, name) + getattr(b, name)) * (1 + 1e-12)


def test_a_bias_is_a_matrix_of_one_column():
    v = np.array([3.0, 0.0, -4.0])
    _, bias = norms_of(np.ones((2, 3)), v)
    column, _ = norms_of(v[:, None])
    assert (bias.l0, bias.l1, bias.l2, bias.linf) == (2, 7.0, 5.0, 4.0)
    assert bias.frobenius == bias.nuclear == bias.spectral == 5.0
    for name in ("l0", "l1", "l2", "linf", "frobenius", "nuclear", "spectral"):
        assert getattr(column, name) == pytest.approx(getattr(bias, name), rel=1e-14)


def test_entrywise_norms_are_not_the_induced_ones():
    W = np.array([[1.0, -2.0], [3.0, 4.0]])
    found, _ = norms_of(W)
    assert (found.l1, found.linf) == (10.0, 4.0)
    assert (np.linalg.norm(W, 1), np.linalg.norm(W, np.inf)) == (6.0, 7.0)


def test_a_matrix_of_known_singular_values():
    U, V = (np.linalg.qr(np.random.default_rng(seed).normal(size=(5, 5)))[0] for seed in (0, 1))
    found, _ = norms_of(U[:, :3] * [12.0, 4.0, 3.0] @ V[:3])
    assert (found.nuclear, found.spectral, found.frobenius) == pytest.approx((19.0, 12.0, 13.0), rel=1e-13)


def test_names_are_those_of_the_parameters_and_sums_are_in_float64():
    model = hl.Sequential([hl.Dense(64, "relu"), hl.Dense(3)], input_dim=100, seed=0)
    found = hl.norms(model)
    assert list(found) == list(model.parameters())
    for name, values in model.parameters().items():
        assert found[name].l1 == pytest.approx(math.fsum(map(abs, values.ravel().tolist())), rel=1e-14)
    assert found["dense_0/bias"] == hl.Norms(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_weights_that_are_not_finite_show(bad):
    kernel, bias = norms_of(np.array([[1.0, bad], [0.0, 2.0]]), np.array([bad, 1.0]))
    for found in (kernel, bias):
        for name in ("l1", "l2", "linf", "frobenius", "nuclear", "spectral"):
            assert not math.isfinite(getattr(found, name))
    assert kernel.l0 == 3


def test_only_a_model_has_weights():
    with refuses(TypeError, "model"):
        hl.norms(np.ones((2, 2)))


def test_repr_is_short():
    found, _ = norms_of(np.array([[1 / 3, 0.0]]))
    assert repr(found) == (
        "Norms(l0=1, l1=0.3333, l2=0.3333, linf=0.3333, frobenius=0.3333, nuclear=0.3333, spectral=0.3333)"
    )
