"""The first layer of a training step on several threads, which have its inputs between them.

Were the rows of the minibatch shared, as in all other layers, each thread would read all of W, half of which
another has just updated: it comes out of that one's cache, at a tenth of the pace of its own. Here a thread
has the inputs whose rows of W it updates. It fetches these columns of the minibatch, and adds their terms to
the sums of the thread before it, some rows of the minibatch after the other: only sums, and what goes back
to them, move between the threads. The terms of a sum have the order that they have on one thread.

Compiled where a minibatch has few rows beside the weights, and called by its address.
"""

from hotloop._jit import kernel
from hotloop.engine.address import NOWHERE, address_of, call
from hotloop.engine.descent import share_of_rows
from hotloop.engine.gather import gather_part, own_inputs
from hotloop.engine.loop import Block
from hotloop.engine.matmul import Matrix
from hotloop.engine.sparse import multiply_layer
from hotloop.engine.table import (
    BIAS,
    N_IN,
    N_OUT,
    NONE,
    RELAY,
    SINGLE_FORWARD,
    VALUE,
    WEIGHT,
    Net,
)
from hotloop.engine.team import Crew, has_passed, pass_on, share, sync_zeros, wait_for
from hotloop.engine.tile import PLAIN, RECTIFIED, tile_shape

__all__ = ["link_relay", "relay"]

LEGS = 4
"""Rows are passed on in so many parts for each thread. In fewer the last thread waits longer at first; in
more each number of W is read more often."""


def link_relay(net: Net, block: Block) -> None:
    """Give `net` the address of `relay`, if its threads have a place for inputs each."""
    if net.relays:
        crew = Crew(0, 1, sync_zeros(1))
        net.calls[RELAY] = address_of(relay, (net, block, 0, 0, net.work, crew, net.work))


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
    fetched = 0
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
            call(net.calls[SINGLE_FORWARD], (net, 0, theta, net.work, x, left, right))
        else:
            out = Matrix(net.work, value + first * n_out, n_out, 1)
            start = out if crew.tid > 0 else Matrix(biases, bias, 0, 1)
            inputs = Matrix(net.work, x + first * n_in + left, n_in, 1)
            multiply_layer(net, 0, out, start, inputs, w, last - first, n_out, right - left, panel, after)
        pass_on(crew, last)
    _, mine = share(n, grain, crew.tid, crew.n_threads)
    wait_for(crew, last_thread, mine)
