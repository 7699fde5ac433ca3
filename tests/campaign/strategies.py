"""What Hypothesis draws: any training that hotloop allows, and the damage that files come to."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hotloop as hl
from cases import Case, log_cosh, tanh_error
from hotloop.activations import ACTIVATIONS
from hotloop.optimizers import OPTIMIZERS, ScheduleFree

LOSSES = (  # loss, its targets, how many outputs the model may have
    (hl.losses.MSE(), "values", (1, 2, 5)),
    (hl.losses.MAE(), "values", (1, 3)),
    (hl.losses.Huber(delta=0.7), "values", (1, 2)),
    (hl.losses.GaussianNLL(), "one value an output and its variance", (2, 4)),
    (hl.losses.PoissonNLL(), "counts", (1, 3)),
    (hl.losses.SoftmaxCrossEntropy(), "labels", (2, 3, 17)),
    (hl.losses.SoftmaxCrossEntropy(label_smoothing=0.1, class_weight={1: 3.0}), "labels", (2, 5)),
    (hl.losses.SoftmaxCrossEntropy(), "probabilities", (2, 3)),
    (hl.losses.KLDivergence(), "probabilities", (2, 4)),
    (hl.losses.SigmoidCrossEntropy(), "shares", (1, 3)),
    *((kind(), "signs", (1,)) for kind in (hl.losses.Hinge, hl.losses.SquaredHinge, hl.losses.Perceptron)),
    *((kind(), "labels", (2, 3)) for kind in (hl.losses.Hinge, hl.losses.SquaredHinge, hl.losses.Perceptron)),
    (hl.losses.Custom(log_cosh, tanh_error), "values", (1, 2)),
)
HIDDEN = sorted(set(ACTIVATIONS) - {"step"})
UNITS = (1, 2, 3, 4, 7, 8, 9, 16, 17, 31, 64, 67)
ROWS = (1, 2, 3, 5, 8, 17, 40, 83, 130)
BATCHES = (1, 2, 3, 5, 7, 16, 32, 1000, None)

rates = st.sampled_from((0.0, 1e-4, 1e-3, 0.01, 0.05))


def schedules():
    """A rate, or a schedule of any kind, its length in steps or epochs."""
    length = st.one_of(
        st.builds(dict, steps=st.integers(2, 9)), st.builds(dict, epochs=st.sampled_from((0.5, 1.0, 2.5)))
    )

    def timed(kind, **given):
        return st.builds(lambda lr, length: kind(lr, **given, **length), rates, length)

    plain = st.one_of(
        st.builds(hl.Constant, rates), timed(hl.Cosine), timed(hl.CosineRestarts, factor=2.0),
        timed(hl.Linear), timed(hl.Exponential, gamma=0.5), timed(hl.Step), timed(hl.Polynomial),
        timed(hl.InverseSqrt), timed(hl.OneCycle),
    )  # fmt: skip
    return st.one_of(
        rates, plain, st.builds(lambda length, then: hl.Warmup(then=then, **length), length, plain)
    )


def optimizers(kinds=OPTIMIZERS):
    """Any kind, some with their options."""
    lr = schedules()
    with_options = {
        hl.SGD: st.builds(hl.SGD, lr, momentum=st.sampled_from((0.5, 0.9)), nesterov=st.booleans()),
        hl.Adam: st.builds(hl.Adam, lr, amsgrad=st.booleans()),
        hl.AdamW: st.builds(hl.AdamW, lr, amsgrad=st.booleans(), weight_decay=st.sampled_from((0.0, 0.1))),
        hl.RMSprop: st.builds(hl.RMSprop, lr, momentum=st.sampled_from((0.0, 0.9)), centered=st.booleans()),
        hl.Rprop: st.builds(hl.Rprop, st.sampled_from((1e-3, 0.01))),
        hl.ScheduleFreeAdamW: st.builds(hl.ScheduleFreeAdamW, lr, warmup_steps=st.integers(0, 4)),
    }
    plain = [st.builds(kind, lr) for kind in kinds if kind is not hl.Rprop]
    return st.one_of(*plain, *(with_options[kind] for kind in kinds if kind in with_options))


def penalties(after_step=True):
    """None, or any kind; `after_step` allows those that change the weights after the step."""
    strength = st.sampled_from((0.0, 1e-4, 0.1))
    smooth = (
        st.builds(hl.L1, strength) | st.builds(hl.L2, strength) | st.builds(hl.ElasticNet, strength, strength)
    )
    if not after_step:
        return st.none() | smooth
    return st.none() | smooth | st.one_of(
        st.builds(hl.L1, strength, proximal=st.just(True)),
        st.builds(hl.ElasticNet, strength, strength, proximal=st.just(True)),
        st.builds(hl.L0, st.integers(1, 20)),
        st.builds(hl.MaxNorm, st.sampled_from((0.1, 1.0))),
        st.builds(hl.Nuclear, strength, every=st.integers(1, 4)),
    )  # fmt: skip


def averages():
    return st.one_of(
        st.none(), st.builds(hl.EMA, st.sampled_from((0.0, 0.5, 0.999))),
        st.builds(hl.SWA, steps=st.integers(0, 5), every=st.integers(1, 3)),
    )  # fmt: skip


@st.composite
def hidden_layers(draw, units, penalty, batch_norm):
    """Layers of any kind in any order."""
    dense = st.builds(
        hl.Dense, st.sampled_from(units), st.sampled_from(HIDDEN), use_bias=st.booleans(), penalty=penalty,
        lr_scale=st.sampled_from((1.0, 1.0, 0.0, 0.3)),
        kernel_init=st.sampled_from(("glorot_uniform", "auto", "orthogonal", "normal")),
    )  # fmt: skip
    kinds = [dense, dense, st.builds(hl.Dropout, st.sampled_from((0.0, 0.3, 0.9)))]
    kinds.append(st.builds(hl.Activation, st.sampled_from(HIDDEN)))
    if batch_norm:
        kinds.append(st.builds(hl.BatchNorm, momentum=st.sampled_from((0.0, 0.9))))
    first = [hl.Standardize()] if draw(st.booleans()) else []
    return first + draw(st.lists(st.one_of(kinds), max_size=5))


@st.composite
def cases(draw, *, units=UNITS, rows=ROWS, kinds=OPTIMIZERS, batch_norm=True, losses=LOSSES):
    """A training that hotloop allows."""
    loss, targets, outputs = draw(st.sampled_from(losses))
    n_out, n = draw(st.sampled_from(outputs)), draw(st.sampled_from(rows))
    optimizer = draw(optimizers(kinds))
    averages_itself = isinstance(optimizer, ScheduleFree)
    penalty = penalties(after_step=not averages_itself)
    last = hl.Dense(n_out, use_bias=draw(st.booleans()), penalty=draw(penalty))
    batch_size = draw(st.sampled_from(BATCHES))
    hidden = draw(hidden_layers(units, penalty, batch_norm and min(batch_size or n, n) > 1))
    clip = draw(st.sampled_from(({}, {}, {"clip_norm": 0.5}, {"clip_value": 0.01})))
    training = {"optimizer": optimizer, "penalty": draw(penalty), "batch_size": batch_size, **clip}
    if not averages_itself:
        training["average"] = draw(averages())
    return Case(
        layers=(*hidden, last), input_dim=draw(st.sampled_from(units)), outputs=n_out, loss=loss,
        targets=targets, dtype=draw(st.sampled_from(("float32", "float64"))), n=n, training=training,
        fit={"epochs": draw(st.integers(1, 3)), "shuffle": draw(st.booleans())},
        weighted=draw(st.booleans()), validated=draw(st.booleans()), seed=draw(st.integers(0, 2**32 - 1)),
    )  # fmt: skip


def searching(examples):
    """As the campaign searches: so many examples, whatever the profile says."""
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
    return settings(max_examples=examples, suppress_health_check=slow)


def drawn(strategy, examples):
    """So many draws as a list: for what looks at all of them in one go, in a process of its own."""
    found = []
    searching(examples)(given(strategy)(lambda case: found.append(case)))()
    return found
