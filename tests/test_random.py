"""The counter-based generator: held to Python's integers, and to what random bits should look like."""

import numpy as np
import pytest

import reference
from hotloop._jit import COMPILED, kernel
from hotloop.engine.pointwise import drop
from hotloop.engine.random import mix, permute, random_bits, stream_key
from hotloop.engine.table import PREDICTION, Mode, mask_seed

pytestmark = pytest.mark.kernels

N = 20_000 if COMPILED else 1_000
LOW_HALF, S32 = np.uint64(2**32 - 1), np.uint64(32)


@kernel
def fill_bits(out, start, seed, step, layer):
    key = stream_key(seed, step, layer)
    low, high = np.uint32(key & LOW_HALF), np.uint32(key >> S32)
    for i in range(len(out)):
        out[i] = random_bits(start + i, low, high)


def bits(seed=0, step=0, layer=0, start=0, n=N):
    out = np.empty(n, np.uint32)
    fill_bits(out, start, seed, step, layer)
    return out


def mask(rate, mode, layer=0, start=0, n=N, dtype=np.float64):
    out = np.empty(n, dtype)
    drop(np.ones(n, dtype), out, start, rate, mode, layer)
    return out


STREAMS = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (2**31, 2**33 + 1, 7), (2**63 - 1, 12345, 40)]


def independent(one, other):
    """Two streams of bits: every pair of a bit here and a bit there, and the numbers, uncorrelated.

    Beyond 5.5 standard errors is an event of less than 1 in 10⁷ for each of the 1,025 numbers.
    """
    limit = 5.5 / np.sqrt(len(one))
    a, b = (2.0 * np.unpackbits(x.view(np.uint8)).reshape(len(x), 32) - 1 for x in (one, other))
    assert np.abs(a.T @ b / len(a)).max() < limit
    assert abs(np.corrcoef(one, other)[0, 1]) < limit


@pytest.mark.parametrize("z", [0, 1, 2**32, 2**63, 2**64 - 1, 0x9E3779B97F4A7C15])
def test_the_mixer_is_that_of_integers(z):
    assert int(mix(np.uint64(z))) == reference.mix(z)


@pytest.mark.parametrize("stream", STREAMS)
def test_keys_and_bits_are_those_of_integers(stream):
    key = reference.stream_key(*stream)
    assert int(stream_key(*stream)) == key
    # Compiled, indices count modulo 2³²; plain NumPy refuses them there.
    for start in (0, 1000, 2**32 - (5 if COMPILED else 100)):
        expected = [reference.random_bits(start + i, key) for i in range(50)]
        np.testing.assert_array_equal(bits(*stream, start=start, n=50), expected)


@pytest.mark.parametrize("stream", STREAMS)
def test_bits_look_uniform(stream):
    found = bits(*stream)
    cells = np.bincount(found >> np.uint32(26), minlength=64)
    chi_square = ((cells - N / 64) ** 2 / (N / 64)).sum()
    assert 63 - 5 * np.sqrt(126) < chi_square < 63 + 5 * np.sqrt(126)
    shares = np.unpackbits(found.view(np.uint8)).reshape(N, 32).mean(axis=0)
    assert np.abs(shares - 0.5).max() < 5 * 0.5 / np.sqrt(N)


@pytest.mark.parametrize("lag", [1, 2, 64, 300])
def test_neighbouring_indices_are_independent(lag):
    found = bits(seed=5)
    independent(found[:-lag], found[lag:])


@pytest.mark.parametrize("other", [(4, 2, 2), (3, 3, 2), (3, 2, 3), (2, 3, 2), (3, 2, 2 + 2**32)])
def test_seeds_steps_and_layers_are_independent(other):
    independent(bits(3, 2, 2), bits(*other))


def test_arguments_are_not_interchangeable():
    assert len({int(stream_key(*a)) for a in [(1, 2, 3), (1, 3, 2), (2, 1, 3), (2, 3, 1), (3, 1, 2)]}) == 5


def test_keys_do_not_collide():
    keys = {int(stream_key(a, b, c)) for a in range(10) for b in range(10) for c in range(10)}
    assert len(keys) == 1000


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.25, 0.5, 0.9])
def test_the_share_that_is_kept_and_its_scale(rate, dtype):
    found = mask(rate, Mode(1, 7, 3, 0), dtype=dtype)
    kept = found != 0
    assert abs(kept.mean() - (1 - rate)) <= 5 * np.sqrt(rate * (1 - rate) / N)
    np.testing.assert_array_equal(found[kept], dtype(1 / (1 - rate)))


@pytest.mark.parametrize("rate", [0.0, 1e-12, 0.3, 0.999])
def test_the_mask_is_the_twins(rate):
    found = mask(rate, Mode(1, 11, 12, 0), layer=13, n=300)
    np.testing.assert_array_equal(found != 0, reference.dropout_mask(300, rate, 11, 12, 13))


def test_a_part_of_a_batch_has_its_part_of_the_mask():
    whole = mask(0.5, Mode(1, 1, 1, 0), n=200)
    np.testing.assert_array_equal(mask(0.5, Mode(1, 1, 1, 0), start=77, n=100), whole[77:177])


def test_prediction_keeps_everything():
    np.testing.assert_array_equal(mask(0.9, PREDICTION, n=50), 1)
    np.testing.assert_array_equal(mask(0.9, Mode(0, 3, 4, 0), n=50), 1)


def test_what_is_dropped_is_zero_even_where_it_was_infinite():
    x, out = np.full(100, np.inf), np.empty(100)
    drop(x, out, 0, 0.5, Mode(1, 0, 0, 0), 0)
    np.testing.assert_array_equal(out[~reference.dropout_mask(100, 0.5, 0, 0, 0)], 0)


def test_a_seed_of_any_size():
    for seed in (0, 1, 2**63 - 1):
        assert mask_seed(seed) == seed
    large = [mask_seed(2**63), mask_seed(2**64 - 1), mask_seed(2**64), mask_seed(3**200)]
    assert all(0 <= seed < 2**63 for seed in large)
    assert len({*large, 0, 1, 2, 3}) == len(large) + 4


def order(n, seed=0, epoch=0):
    rows = np.full(n, -7)
    permute(rows, seed, epoch)
    return rows


@pytest.mark.parametrize("n", [0, 1, 2, 7, 1000])
def test_an_order_is_that_of_integers(n):
    for seed, epoch in ((0, 0), (1, 0), (0, 1), (2**63 - 1, 2**40)):
        np.testing.assert_array_equal(order(n, seed, epoch), reference.permutation(n, seed, epoch))


def test_an_order_has_every_row_once_and_no_two_epochs_have_the_same():
    orders = [order(500, seed, epoch) for seed in range(3) for epoch in range(20)]
    for one in orders:
        np.testing.assert_array_equal(np.sort(one), np.arange(500))
    assert len({one.tobytes() for one in orders}) == len(orders)


@pytest.mark.skipif(not COMPILED, reason="too many orders for plain loops")
@pytest.mark.parametrize("vary", ["seed", "epoch"])
def test_every_order_is_as_likely_as_the_others(vary):
    """The 120 orders of five rows, by chi-squared: 119 degrees, of which 210 are more than six deviations."""
    draws = 60_000
    powers = 5 ** np.arange(5)
    found = [int(order(5, **{vary: k}) @ powers) for k in range(draws)]
    _, counts = np.unique(found, return_counts=True)
    expected = draws / 120
    assert len(counts) == 120
    assert ((counts - expected) ** 2 / expected).sum() < 210


@pytest.mark.skipif(not COMPILED, reason="too many orders for plain loops")
def test_rows_go_anywhere_and_neighbours_part():
    """Of 1,000 orders of 100 rows: where a row goes, and how far it is from the one that was next to it."""
    orders = np.array([np.argsort(order(100, epoch=k)) for k in range(1000)])
    limit = 6 * np.sqrt((100**2 - 1) / 12 / 1000)
    assert np.abs(orders.mean(axis=0) - 49.5).max() < limit
    apart = np.abs(np.diff(orders, axis=1))
    assert np.abs(apart.mean(axis=0) - 101 / 3).max() < 6 * np.sqrt((101 * 98 / 18) / 1000)
