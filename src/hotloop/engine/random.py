"""A counter-based generator: the same numbers for the same (seed, step, layer, index), in any order.

So a mask needs no memory, and depends neither on the threads nor on where training was stopped; and the
order of an epoch's rows follows from its number.
"""

import numpy as np

from hotloop._jit import kernel, kernel_inline

__all__ = ["permute", "random_bits", "stream_key"]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX_1, MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
S27, S30, S31, S32 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(32)
HASH_1, HASH_2 = np.uint32(0x7FEB352D), np.uint32(0x846CA68B)
ORDER = 2**62
"""In place of a layer: the stream that orders rows."""
ALL_32 = 0xFFFFFFFF
H15, H16 = np.uint32(15), np.uint32(16)


@kernel
def mix(z):
    """Each bit of the result depends on all 64: the finaliser of SplitMix64 (Steele et al., 2014)."""
    z = (z ^ (z >> S30)) * MIX_1
    z = (z ^ (z >> S27)) * MIX_2
    return z ^ (z >> S31)


@kernel
def stream_key(seed, step, layer):
    """64 bits that name the stream of a layer in a step."""
    key = mix(np.uint64(seed) + GOLDEN)
    key = mix((key ^ np.uint64(step)) + GOLDEN)
    return mix((key ^ np.uint64(layer)) + GOLDEN)


@kernel_inline
def random_bits(index, low, high):
    """32 random bits; `low` and `high` are the halves of a `stream_key`.

    The hash "lowbias32" (Wellons, "Prospecting for hash functions", 2018), keyed before and between
    its rounds. In 32-bit integers, so that a loop over indices vectorises.
    """
    h = np.uint32(np.uint32(index & ALL_32) + low)
    h = np.uint32(np.uint32(h ^ np.uint32(h >> H16)) * HASH_1)
    h = np.uint32(h ^ high)
    h = np.uint32(np.uint32(h ^ np.uint32(h >> H15)) * HASH_2)
    return np.uint32(h ^ np.uint32(h >> H16))


@kernel
def permute(rows, seed, epoch):
    """rows ← the numbers from 0 to n − 1 in a random order that follows from (seed, epoch).

    Fisher & Yates' shuffle (Knuth, "The art of computer programming", volume 2, 3.4.2, algorithm P), from
    inside out. Of i + 1 places each is as likely as the others but for (i + 1) / 2³² of its share.
    """
    key = stream_key(seed, epoch, ORDER)
    for i in range(len(rows)):
        place = ((mix(key + np.uint64(i) * GOLDEN) >> S32) * np.uint64(i + 1)) >> S32
        rows[i] = rows[place]
        rows[place] = i
