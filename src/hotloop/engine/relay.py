"""The first layer of a training step on several threads, which have its inputs between them.

Were the rows of the minibatch shared, as in all other layers, each thread would read all of W, half of which
another has just updated: it comes out of that one's cache, at a tenth of the pace of its own. Here a thread
has the inputs whose rows of W it updates. It fetches these columns of the minibatch, unless it reads them
where they lie (`engine.direct`), and adds their terms to the sums of the thread before it, some rows of the
minibatch after the other: only sums, and what goes back to them, move between the threads. The terms of a sum
have the order that they have on one thread.

Where the layer's products are those of `engine.amx`, in two passes, two threads have a pass each
(`relay_of_halves`).

Compiled where a minibatch has few rows beside the weights, and called by its address.
"""

import numpy as np

from hotloop._jit import kernel
from hotloop.engine.address import NOWHERE, address_of, call
from hotloop.engine.descent import share_of_rows
from hotloop.engine.gather import gather_part, own_inputs
from hotloop.engine.lone import Lone
from hotloop.engine.loop import Block
from hotloop.engine.matmul import Matrix
from hotloop.engine.sparse import multiply_layer
from hotloop.engine.table import (
    BIAS,
    DELTA,
    DIRECT_PRODUCT,
    N_IN,
    N_OUT,
    NONE,
    ON_UNIT,
    PLACES,
    RELAY,
    SINGLE_FORWARD,
    VALUE,
    WEIGHT,
    Net,
)
from hotloop.engine.team import Crew, barrier, has_passed, pass_on, share, sync_zeros, wait_for
from hotloop.engine.tile import PLAIN, RECTIFIED, tile_shape

__all__ = ["link_relay", "relay"]

LEGS = 4
"""Rows are passed on in so many parts for each thread. In fewer the last thread waits longer at first; in
more each number of W is read more often."""


def link_relay(net: Net, block: Block) -> None:
    """Give `net` the address of `relay`, if its threads have a place for inputs each."""
    if net.relays:
        crew = Crew(0, 1, sync_zeros(1))
        taken = relay_of_halves if net.table[0, ON_UNIT] else relay
        net.calls[RELAY] = address_of(taken, (net, block, 0, 0, net.work, crew, net.work))


@kernel
def relay(net, block, begin, n, theta, crew, panel):
    """Fetch this thread's inputs of rows begin:begin + n of the block, and take part in row 0 of the table.

    When it returns, this thread's rows of the outputs are there; of the ReLU after them, too, if `Net.relays`
    says so.
    """
    row = net.table[0]
    n_in, n_out = row[N_IN], row[N_OUT]
    grain, _ = tile_shape(net.work)
    left, right = share_of_rows(net, 0, crew)
    x, last_thread = own_inputs(net, crew), crew.n_threads - 1
    single = net.calls[SINGLE_FORWARD] != NOWHERE
    value = net.table[net.relays - 1, VALUE]
    after = RECTIFIED if net.relays == 2 and crew.tid == last_thread else PLAIN
    biases, bias = (theta, row[BIAS]) if row[BIAS] != NONE else (net.work, net.zeros)
    w = Matrix(theta, row[WEIGHT] + left * n_out, n_out, 1)
    leg = max(n // (LEGS * crew.n_threads) // grain * grain, grain)
    fetched = n if net.direct else 0
    for first in range(0, n, leg):
        last = min(first + leg, n)
        # While the sums are not there, more rows are fetched.
        while fetched < last or (fetched < n and crew.tid > 0 and not has_passed(crew, crew.tid - 1, last)):
            end = min(fetched + leg, n)
            gather_part(net, block, begin + fetched, begin + end, left, right, x + fetched * n_in)
            fetched = end
        if crew.tid > 0:
            wait_for(crew, crew.tid - 1, last)
        if single:
            one = Lone(row, net.work, net.partial[PLACES], net.zeros)
            call(net.calls[SINGLE_FORWARD], (one, theta, net.work, x, left, right))
        else:
            out = Matrix(net.work, value + first * n_out, n_out, 1)
            start = out if crew.tid > 0 else Matrix(biases, bias, 0, 1)
            inputs, terms = Matrix(net.work, x + first * n_in + left, n_in, 1), right - left
            if net.direct:
                places, rows = block.rows[begin + first : begin + n], last - first
                product = (out, start, block.x, places, rows, n_in, left, w, n_out, terms, panel, after)
                call(net.calls[DIRECT_PRODUCT], product)
            else:
                multiply_layer(net, 0, out, start, inputs, w, last - first, n_out, terms, panel, after)
        pass_on(crew, last)
    _, mine = share(n, grain, crew.tid, crew.n_threads)
    wait_for(crew, last_thread, mine)


@kernel
def relay_of_halves(net, block, begin, n, theta, crew, panel):
    """What `relay` does, for two threads and products of two passes (`engine.amx`).

    What a pass sums up is added to the sums before it as a whole. So both threads multiply at once, and then
    add, each for its rows.
    """
    row = net.table[0]
    n_in, n_out = row[N_IN], row[N_OUT]
    left, right = share_of_rows(net, 0, crew)
    x, to = own_inputs(net, crew), net.table[net.relays - 1, VALUE]
    gather_part(net, block, begin, begin + n, left, right, x)
    # Until the next barrier nobody needs the place of this row's deltas.
    out = Matrix(net.work, to if crew.tid == 0 else row[DELTA], n_out, 1)
    has_biases = row[BIAS] != NONE and crew.tid == 0
    biases, bias = (theta, row[BIAS]) if has_biases else (net.work, net.zeros)
    inputs = Matrix(net.work, x + left, n_in, 1)
    w = Matrix(theta, row[WEIGHT] + left * n_out, n_out, 1)
    start = Matrix(biases, bias, 0, 1)
    multiply_layer(net, 0, out, start, inputs, w, n, n_out, right - left, panel, PLAIN)
    barrier(crew.sync, crew.n_threads)
    grain, _ = tile_shape(net.work)
    lo, hi = share(n, grain, crew.tid, crew.n_threads)
    sums = net.work[to + lo * n_out : to + hi * n_out]
    others = net.work[row[DELTA] + lo * n_out : row[DELTA] + hi * n_out]
    add_others(sums, others, net.relays == 2)


@kernel
def add_others(sums, others, rectified):
    """sums += others; limited to 0 or more if they are to be `rectified`."""
    zero = sums.dtype.type(0)
    floor = zero if rectified else sums.dtype.type(-np.inf)
    for i in range(len(sums)):
        total = sums[i] + others[i]
        sums[i] = floor if total < floor else total
