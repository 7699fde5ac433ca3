"""Where the functions of a user's own loss meet the compiled loop."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop.engine.loop import Block, predict_block
from hotloop.engine.table import N_IN, N_OUT, Mode, Net
from hotloop.engine.team import Team
from hotloop.losses import Custom, Loss

__all__ = ["with_own_loss"]


def with_own_loss(
    loss: Loss, net: Net, block: Block, theta: NDArray[Any], batch_size: int, mode: Mode, team: Team
) -> Block:
    """`block`, with the loss of each row and its gradient as targets if the loss is a user's own.

    For that the rows go forward through the network, in minibatches, as they will in the loop.
    """
    if not isinstance(loss, Custom) or len(block.weights) == 0:
        return block
    n, n_out = len(block.weights), int(net.table[-1, N_OUT])
    outputs = np.empty((n, n_out), theta.dtype)
    # The running statistics must follow the minibatch once, in the loop: here a copy does.
    trial = tuple(net._replace(running=net.running.copy()))
    x = block.x.reshape(-1, int(net.table[0, N_IN]))
    x = x[block.rows] if len(block.rows) else x
    team.run(predict_block, trial, theta, x, batch_size, tuple(mode), False, outputs)
    return block._replace(targets=loss.rows(outputs, block.targets))
