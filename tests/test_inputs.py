"""Wrong inputs: the error names the argument, is the built-in one expects, and nothing has changed."""

import numpy as np
import pytest

import hotloop as hl
from helpers import classes, net, refuses, values

N, FEATURES, OUTPUTS = 12, 4, 3
X, LABELS = classes(N, FEATURES, OUTPUTS)
VALUES = values(N, FEATURES, OUTPUTS)[1]


class Sparse:
    """What a SciPy matrix looks like from outside."""

    shape = (N, FEATURES)

    def tocsr(self):
        return self


def with_number(array, number, dtype=np.float64):
    """A copy of `array` whose second last row holds `number`."""
    array = np.array(array, dtype)
    array[-2] = number
    return array


WRONG_FEATURES = {
    "too wide": (np.ones((N, FEATURES + 1)), ValueError),
    "too narrow": (np.ones((N, FEATURES - 1)), ValueError),
    "transposed": (X.T, ValueError),
    "1-D": (X[0], ValueError),
    "3-D": (X[None], ValueError),
    "a number": (1.0, ValueError),
    "NaN": (with_number(X, np.nan), ValueError),
    "NaN in float16": (with_number(X, np.nan, np.float16), ValueError),
    "infinite": (with_number(X, np.inf), ValueError),
    "minus infinite": (with_number(X, -np.inf, np.float32), ValueError),
    "too large for float32": (with_number(X, 1e39), ValueError),
    "no rows": (np.empty((0, FEATURES)), ValueError),
    "empty list": ([], ValueError),
    "no features": (np.empty((N, 0)), ValueError),
    "None": (None, TypeError),
    "objects": (X.astype(object), TypeError),
    "text": (X.astype(str), TypeError),
    "one text": ("data.csv", TypeError),
    "ragged": ([[1.0, 2.0, 3.0, 4.0], [1.0]], TypeError),
    "complex": (X.astype(complex), TypeError),
    "dates": (np.zeros((N, FEATURES), "M8[s]"), TypeError),
    "records": (np.zeros(N, "f4,f4,f4,f4"), TypeError),
    "sparse": (Sparse(), TypeError),
    "huge integers": ([[10**30] * FEATURES] * N, TypeError),
}
WRONG_LABELS = {
    "negative": (with_number(LABELS, -1, int), ValueError),
    "too large": (with_number(LABELS, OUTPUTS, int), ValueError),
    "too large, unsigned": (with_number(LABELS, 2**64 - 1, np.uint64), ValueError),
    "float": (LABELS.astype(float), TypeError),
    "one-hot, too wide": (np.eye(OUTPUTS + 1, dtype=int)[LABELS], ValueError),
    "one-hot, two classes": (np.eye(OUTPUTS, dtype=int)[LABELS] + np.eye(OUTPUTS, dtype=int)[0], ValueError),
    "3-D": (LABELS.reshape(N, 1, 1), ValueError),
    "row": (LABELS.reshape(1, N), ValueError),
    "a number": (1, ValueError),
    "too few": (LABELS[:-1], ValueError),
    "too many": (np.append(LABELS, 0), ValueError),
    "none": ([], (ValueError, TypeError)),
    "None": (None, TypeError),
    "names": (["cat", "dog", "eel"] * 4, TypeError),
    "objects": (LABELS.astype(object), TypeError),
    "ragged": ([[0], [1, 2]] * 6, TypeError),
    "sparse": (Sparse(), TypeError),
}
WRONG_VALUES = {
    "too few outputs": (VALUES[:, :-1], ValueError),
    "one output": (VALUES[:, 0], ValueError),
    "too many outputs": (np.ones((N, OUTPUTS + 1)), ValueError),
    "3-D": (VALUES[None], ValueError),
    "too few": (VALUES[:-1], ValueError),
    "a number": (1.0, ValueError),
    "NaN": (with_number(VALUES, np.nan), ValueError),
    "infinite": (with_number(VALUES, np.inf), ValueError),
    "too large for float32": (with_number(VALUES, 1e39), ValueError),
    "None": (None, TypeError),
    "objects": (VALUES.astype(object), TypeError),
    "complex": (VALUES.astype(complex), TypeError),
    "text": (VALUES.astype(str), TypeError),
}
WRONG_WEIGHTS = {
    "negative": (with_number(np.ones(N), -1), ValueError),
    "all zero": (np.zeros(N), ValueError),
    "NaN": (with_number(np.ones(N), np.nan), ValueError),
    "infinite": (with_number(np.ones(N), np.inf), ValueError),
    "too large for float32": (with_number(np.ones(N), 1e39), ValueError),
    "too few": (np.ones(N - 1), ValueError),
    "too many": (np.ones(N + 1), ValueError),
    "2-D": (np.ones((N, 2)), ValueError),
    "a number": (1.0, ValueError),
    "text": (["1"] * N, TypeError),
    "objects": (np.ones(N, object), TypeError),
    "by class": ({0: 1.0, 1: 2.0}, TypeError),
}
SHARES = np.full((N, OUTPUTS), 1 / OUTPUTS)
WRONG_PROBABILITIES = {
    "sum above 1": (1.00001 * SHARES, ValueError),
    "sum above 1, float32": (1.002 * SHARES.astype(np.float32), ValueError),
    "one row": (with_number(SHARES, 0.0), ValueError),
    "negative": (with_number(SHARES, [-0.5, 1.0, 0.5]), ValueError),
    "NaN": (with_number(SHARES, np.nan), ValueError),
    "too few": (SHARES[:-1], ValueError),
    "too narrow": (np.full((N, OUTPUTS - 1), 0.5), ValueError),
    "objects": (SHARES.astype(object), TypeError),
    "text": (SHARES.astype(str), TypeError),
}
WRONG_FOR = {  # (loss, outputs of the model, targets, what the message says to do or what was found)
    "sigmoid, above 1": ("sigmoid_cross_entropy", OUTPUTS, with_number(SHARES, 1.5), "from 0 to 1"),
    "sigmoid, negative": ("sigmoid_cross_entropy", OUTPUTS, with_number(SHARES, -1, int), "found -1"),
    "sigmoid, labels": ("sigmoid_cross_entropy", OUTPUTS, LABELS, "3 outputs"),
    "sigmoid, signs": ("sigmoid_cross_entropy", 1, 2 * (LABELS > 0) - 1, "from 0 to 1"),
    "poisson, negative": ("poisson_nll", OUTPUTS, with_number(SHARES, -1), "at least 0"),
    "gaussian, for each output": ("gaussian_nll", 4, np.ones((N, 4)), "mean and a log-variance"),
    "gaussian, NaN": ("gaussian_nll", 2, np.full(N, np.nan), "not finite"),
    "hinge, 0 and 1": ("hinge", 1, (LABELS > 0).astype(int), "2 * y"),
    "hinge, truth": ("hinge", 1, LABELS > 0, "2 * y"),
    "hinge, values": ("hinge", 1, VALUES[:, 0], "-1 or 1"),
    "hinge, signs": ("hinge", OUTPUTS, 2 * (LABELS > 0) - 1, "found -1"),
    "squared hinge, 0 and 1": ("squared_hinge", 1, (LABELS > 0).astype(int), "2 * y"),
    "perceptron, 0 and 1": ("perceptron", 1, (LABELS > 0).astype(int), "2 * y"),
    "perceptron, too large": ("perceptron", OUTPUTS, LABELS + 1, "found 3"),
    "kl, labels": ("kl_divergence", OUTPUTS, LABELS, "rows of probabilities"),
}
LOSS_AND_TARGETS = {"softmax_cross_entropy": LABELS, "mse": VALUES}


def fit(trainer, X, y, sample_weight=None):
    return trainer.fit(X, y, sample_weight=sample_weight)


def evaluate(trainer, X, y, sample_weight=None):
    return trainer.evaluate(X, y, sample_weight=sample_weight)


def predict(trainer, X, y, sample_weight=None):
    return trainer.model.predict(X)


def objective(trainer, X, y, sample_weight=None):
    return hl.Objective(trainer.model, X, y, loss=trainer.loss, sample_weight=sample_weight)


WITH_FEATURES = pytest.mark.parametrize("call", [fit, evaluate, predict, objective])
WITH_TARGETS = pytest.mark.parametrize("call", [fit, evaluate, objective])


@pytest.fixture(params=LOSS_AND_TARGETS)
def loss(request):
    return request.param


@pytest.fixture
def untouched():
    """Makes trainers, and checks at the end that none of them has moved."""
    made = []

    def make(loss="softmax_cross_entropy", **options):
        model = net(FEATURES, 5, OUTPUTS, dtype="float32")
        made.append((hl.Trainer(model, loss=loss, **options), model.theta.copy()))
        return made[-1][0]

    yield make
    for trainer, theta in made:
        np.testing.assert_array_equal(trainer.model.theta, theta)
        assert (trainer.step, trainer.epoch, dict(trainer.history)) == (0, 0, {})
        assert trainer.history.stopped_by is None


def test_the_right_inputs_pass(loss):
    """What the tables below change is right before."""
    y = LOSS_AND_TARGETS[loss]
    trainer = hl.Trainer(net(FEATURES, 5, OUTPUTS, dtype="float32"), loss=loss)
    for call in (fit, evaluate, predict, objective):
        call(trainer, X, y, np.ones(N))


@WITH_FEATURES
@pytest.mark.parametrize(("wrong", "error"), WRONG_FEATURES.values(), ids=WRONG_FEATURES)
def test_features(call, wrong, error, loss, untouched):
    with refuses(error, "X"):
        call(untouched(loss), wrong, LOSS_AND_TARGETS[loss])


@WITH_TARGETS
@pytest.mark.parametrize(("wrong", "error"), WRONG_LABELS.values(), ids=WRONG_LABELS)
def test_labels(call, wrong, error, untouched):
    with refuses(error, "y"):
        call(untouched("softmax_cross_entropy"), X, wrong)


@WITH_TARGETS
@pytest.mark.parametrize(("wrong", "error"), WRONG_VALUES.values(), ids=WRONG_VALUES)
def test_values(call, wrong, error, untouched):
    with refuses(error, "y"):
        call(untouched("mse"), X, wrong)


@WITH_TARGETS
@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "kl_divergence"])
@pytest.mark.parametrize(("wrong", "error"), WRONG_PROBABILITIES.values(), ids=WRONG_PROBABILITIES)
def test_probabilities(call, loss, wrong, error, untouched):
    with refuses(error, "y"):
        call(untouched(loss), X, wrong)


@pytest.mark.parametrize(("loss", "outputs", "wrong", "says"), WRONG_FOR.values(), ids=WRONG_FOR)
def test_targets_of_another_loss(loss, outputs, wrong, says):
    trainer = hl.Trainer(net(FEATURES, 5, outputs, dtype="float32"), loss=loss)
    for call in (fit, evaluate, objective):
        with refuses(ValueError, "y") as caught:
            call(trainer, X, wrong)
        assert says in str(caught.value)


WRONG_LOSSES = {
    "delta 0": (hl.losses.Huber, {"delta": 0.0}, ValueError, "delta"),
    "delta negative": (hl.losses.Huber, {"delta": -1.0}, ValueError, "delta"),
    "delta beyond float32": (hl.losses.Huber, {"delta": 1e300}, ValueError, "delta"),
    "delta text": (hl.losses.Huber, {"delta": "1"}, TypeError, "delta"),
    "smoothing 1": (hl.losses.SoftmaxCrossEntropy, {"label_smoothing": 1.0}, ValueError, "label_smoothing"),
    "no smoothing": (hl.losses.SoftmaxCrossEntropy, {"label_smoothing": None}, TypeError, "label_smoothing"),
    "class weight one": (hl.losses.SoftmaxCrossEntropy, {"class_weight": 2.0}, TypeError, "class_weight"),
    "class weight by name": (
        hl.losses.SoftmaxCrossEntropy, {"class_weight": {"cat": 2.0}}, TypeError, "class_weight: a class"
    ),
    "class weight negative": (
        hl.losses.SoftmaxCrossEntropy, {"class_weight": {1: -2.0}}, ValueError, "class_weight[1]"
    ),
    "class weights negative": (
        hl.losses.SoftmaxCrossEntropy, {"class_weight": [1.0, -2.0]}, ValueError, "class_weight"
    ),
    "class weights NaN": (
        hl.losses.SoftmaxCrossEntropy, {"class_weight": [1.0, np.nan]}, ValueError, "class_weight"
    ),
    "class weights 0": (hl.losses.SoftmaxCrossEntropy, {"class_weight": [0, 0]}, ValueError, "class_weight"),
}  # fmt: skip


@pytest.mark.parametrize(("loss", "options", "error", "name"), WRONG_LOSSES.values(), ids=WRONG_LOSSES)
def test_options_of_a_loss(loss, options, error, name):
    with refuses(error, name):
        loss(**options)


@pytest.mark.parametrize("weights", [{OUTPUTS: 2.0}, [1.0, 2.0], np.ones(OUTPUTS + 1)])
def test_class_weights_that_do_not_fit_the_model(weights):
    loss = hl.losses.SoftmaxCrossEntropy(class_weight=weights)
    with refuses(ValueError, "class_weight"):
        hl.Trainer(net(FEATURES, OUTPUTS), loss=loss)


def test_class_weights_that_leave_no_sample():
    loss = hl.losses.SoftmaxCrossEntropy(class_weight=[0.0, 0.0, 1.0])
    trainer = hl.Trainer(net(FEATURES, OUTPUTS), loss=loss)
    with pytest.raises(ValueError, match=r"class_weight.* all weights are zero"):
        trainer.fit(X, 0 * LABELS)


def test_a_mean_needs_its_variance():
    with refuses(ValueError, "loss"):
        hl.Trainer(net(FEATURES, 3), loss="gaussian_nll")


@WITH_TARGETS
@pytest.mark.parametrize(("wrong", "error"), WRONG_WEIGHTS.values(), ids=WRONG_WEIGHTS)
def test_weights(call, wrong, error, loss, untouched):
    with refuses(error, "sample_weight"):
        call(untouched(loss), X, LOSS_AND_TARGETS[loss], wrong)


@pytest.mark.parametrize("part", range(3))
def test_validation_data_is_checked_part_by_part(part, untouched):
    data = [X, LABELS, np.ones(N)]
    data[part] = np.full(np.shape(data[part]), -1 if part else np.nan, data[part].dtype)
    with refuses(ValueError, f"validation_data[{part}]"):
        untouched().fit(X, LABELS, validation_data=tuple(data))


WRONG_FIT = {
    "epochs 0": ({"epochs": 0}, ValueError, "epochs"),
    "epochs negative": ({"epochs": -3}, ValueError, "epochs"),
    "epochs float": ({"epochs": 2.0}, TypeError, "epochs"),
    "epochs bool": ({"epochs": True}, TypeError, "epochs"),
    "epochs None": ({"epochs": None}, TypeError, "epochs"),
    "shuffle text": ({"shuffle": "yes"}, TypeError, "shuffle"),
    "shuffle 1": ({"shuffle": 1}, TypeError, "shuffle"),
    "progress text": ({"progress": "bar"}, TypeError, "progress"),
    "validation X alone": ({"validation_data": X}, TypeError, "validation_data"),
    "validation of one": ({"validation_data": (X,)}, TypeError, "validation_data"),
    "validation of four": ({"validation_data": (X, LABELS, None, None)}, TypeError, "validation_data"),
    "validation share": ({"validation_data": 0.2}, TypeError, "validation_data"),
    "validation dict": ({"validation_data": {"X": X, "y": LABELS}}, TypeError, "validation_data"),
    "callback class": ({"callbacks": [hl.EarlyStopping]}, TypeError, "callbacks[0]"),
    "callback class alone": ({"callbacks": hl.EarlyStopping}, TypeError, "callbacks"),
    "callback function": ({"callbacks": [hl.Callback(), print]}, TypeError, "callbacks[1]"),
    "callback a number": ({"callbacks": 3}, TypeError, "callbacks"),
    "callback twice": ({"callbacks": [hl.Callback()] * 2}, ValueError, "callbacks"),
    "monitor unknown": ({"callbacks": hl.EarlyStopping("val_los")}, ValueError, "monitor"),
    "monitor without data": ({"callbacks": [hl.EarlyStopping("val_loss")]}, ValueError, "monitor"),
}


@pytest.mark.parametrize(("options", "error", "name"), WRONG_FIT.values(), ids=WRONG_FIT)
def test_options_of_fit(options, error, name, untouched):
    with refuses(error, name):
        untouched().fit(X, LABELS, **options)


def test_the_class_of_a_callback_is_answered_with_the_way_out(untouched):
    with pytest.raises(TypeError, match="instance"):
        untouched().fit(X, LABELS, callbacks=[hl.EarlyStopping])


WRONG_TRAINERS = {
    "loss unknown": ({"loss": "hinge-ish"}, ValueError, "loss"),
    "loss a function": ({"loss": np.mean}, TypeError, "loss"),
    "loss None": ({"loss": None}, TypeError, "loss"),
    "loss class": ({"loss": hl.losses.Huber}, TypeError, "loss"),
    "optimizer by name": ({"optimizer": "adam"}, TypeError, "optimizer"),
    "optimizer class": ({"optimizer": hl.Adam}, TypeError, "optimizer"),
    "optimizer rate": ({"optimizer": 0.1}, TypeError, "optimizer"),
    "batch_size 0": ({"batch_size": 0}, ValueError, "batch_size"),
    "batch_size negative": ({"batch_size": -1}, ValueError, "batch_size"),
    "batch_size float": ({"batch_size": 1.5}, TypeError, "batch_size"),
    "batch_size whole float": ({"batch_size": 32.0}, TypeError, "batch_size"),
    "batch_size bool": ({"batch_size": True}, TypeError, "batch_size"),
    "batch_size numpy bool": ({"batch_size": np.True_}, TypeError, "batch_size"),
    "batch_size text": ({"batch_size": "all"}, TypeError, "batch_size"),
    "n_threads 0": ({"n_threads": 0}, ValueError, "n_threads"),
    "n_threads negative": ({"n_threads": -1}, ValueError, "n_threads"),
    "n_threads float": ({"n_threads": 2.0}, TypeError, "n_threads"),
    "seed negative": ({"seed": -1}, ValueError, "seed"),
    "seed None": ({"seed": None}, TypeError, "seed"),
}


@pytest.mark.parametrize(("options", "error", "name"), WRONG_TRAINERS.values(), ids=WRONG_TRAINERS)
def test_options_of_a_trainer(options, error, name):
    with refuses(error, name):
        hl.Trainer(net(FEATURES, OUTPUTS), **{"loss": "mse"} | options)


WRONG_OBJECTIVES = {
    "loss unknown": ({"loss": "l2"}, ValueError, "loss"),
    "batch_size 0": ({"batch_size": 0}, ValueError, "batch_size"),
    "batch_size None": ({"batch_size": None}, TypeError, "batch_size"),
    "batch_size float": ({"batch_size": 1.5}, TypeError, "batch_size"),
    "n_threads 0": ({"n_threads": 0}, ValueError, "n_threads"),
}


@pytest.mark.parametrize(("options", "error", "name"), WRONG_OBJECTIVES.values(), ids=WRONG_OBJECTIVES)
def test_options_of_an_objective(options, error, name):
    with refuses(error, name):
        hl.Objective(net(FEATURES, OUTPUTS), X, VALUES, **{"loss": "mse"} | options)


@pytest.mark.parametrize("model", [None, "mlp", hl.Sequential, hl.Dense(3), [hl.Dense(3)]])
def test_something_that_is_no_model(model):
    with refuses(TypeError, "model"):
        hl.Trainer(model, loss="mse")
    with refuses(TypeError, "model"):
        hl.Objective(model, X, VALUES, loss="mse")


@pytest.mark.parametrize(
    "make", [hl.Trainer, lambda model, loss: hl.Objective(model, X, 0 * LABELS, loss=loss)]
)
def test_classes_need_two_outputs(make):
    """With one output the softmax is 1, whatever the weights: nothing could be learned."""
    with refuses(ValueError, "loss"):
        make(net(FEATURES, 1), loss="softmax_cross_entropy")


WRONG_OPTIMIZERS = {
    "SGD rate negative": (hl.SGD, {"lr": -0.1}, ValueError, "lr"),
    "SGD rate NaN": (hl.SGD, {"lr": float("nan")}, ValueError, "lr"),
    "SGD rate infinite": (hl.SGD, {"lr": float("inf")}, ValueError, "lr"),
    "SGD rate beyond float": (hl.SGD, {"lr": 10**400}, ValueError, "lr"),
    "SGD rate text": (hl.SGD, {"lr": "0.1"}, TypeError, "lr"),
    "SGD rate bool": (hl.SGD, {"lr": True}, TypeError, "lr"),
    "SGD rate None": (hl.SGD, {"lr": None}, TypeError, "lr"),
    "momentum 1": (hl.SGD, {"momentum": 1.0}, ValueError, "momentum"),
    "momentum negative": (hl.SGD, {"momentum": -0.5}, ValueError, "momentum"),
    "nesterov alone": (hl.SGD, {"nesterov": True}, ValueError, "nesterov"),
    "nesterov text": (hl.SGD, {"momentum": 0.9, "nesterov": "yes"}, TypeError, "nesterov"),
    "Adam rate negative": (hl.Adam, {"lr": -1}, ValueError, "lr"),
    "betas one": (hl.Adam, {"betas": 0.9}, TypeError, "betas"),
    "betas three": (hl.Adam, {"betas": (0.9, 0.99, 0.999)}, TypeError, "betas"),
    "beta 1": (hl.Adam, {"betas": (0.9, 1.0)}, ValueError, "betas[1]"),
    "beta text": (hl.Adam, {"betas": ("0.9", 0.99)}, TypeError, "betas[0]"),
    "eps negative": (hl.Adam, {"eps": -1e-8}, ValueError, "eps"),
}


@pytest.mark.parametrize(
    ("optimizer", "options", "error", "name"), WRONG_OPTIMIZERS.values(), ids=WRONG_OPTIMIZERS
)
def test_options_of_an_optimizer(optimizer, options, error, name):
    with refuses(error, name):
        optimizer(**options)


WRONG_SCHEDULES = {
    "one number": lambda steps: 0.1,
    "too few": lambda steps: np.full(len(steps) + 1, 0.1),
    "NaN": lambda steps: np.full(len(steps), np.nan),
    "negative": lambda steps: np.full(len(steps), -0.1),
}


@pytest.mark.parametrize("schedule", WRONG_SCHEDULES.values(), ids=WRONG_SCHEDULES)
def test_a_schedule_that_gives_no_rates(schedule, untouched):
    with refuses(ValueError, "lr"):
        untouched(optimizer=hl.SGD(schedule)).fit(X, LABELS)


def test_an_error_says_where_the_number_is():
    wrong = np.array(X)
    wrong[7, 2] = np.nan
    with pytest.raises(ValueError, match=r"at row 7, column 2 "):
        net(FEATURES, OUTPUTS).predict(wrong)


def test_an_error_shows_plain_numbers():
    """nan, not np.float64(nan)."""
    trainer = hl.Trainer(net(FEATURES, OUTPUTS), loss="mse")
    with pytest.raises(ValueError, match="X: nan at row"):
        trainer.evaluate(with_number(X, np.nan), VALUES)
    with pytest.raises(ValueError, match=r"sample_weight: .* found -1"):
        trainer.evaluate(X, VALUES, sample_weight=-np.ones(N))


@pytest.mark.parametrize("place", [0, 99_999, -1])
def test_a_wrong_number_is_found_anywhere_in_large_data(place):
    wrong = np.zeros((500_000, FEATURES), np.float32)
    wrong[place, 1] = np.inf
    with pytest.raises(ValueError, match=f"row {place % len(wrong)}, column 1"):
        net(FEATURES, OUTPUTS).predict(wrong)


def test_large_numbers_are_fine_in_float64():
    X = np.full((N, FEATURES), 1e39)
    assert np.isfinite(net(FEATURES, OUTPUTS).predict(X)).all()


GOOD_LABELS = {
    "list": LABELS.tolist(),
    "column": LABELS.reshape(-1, 1),
    "uint8": LABELS.astype(np.uint8),
    "int8": LABELS.astype(np.int8),
    "big endian": LABELS.astype(">i4"),
    "strided": np.repeat(LABELS, 2)[::2],
    "truth": LABELS > 0,
}


@pytest.mark.parametrize("y", GOOD_LABELS.values(), ids=GOOD_LABELS)
def test_labels_of_any_whole_type(y):
    theta = []
    for labels in (y, np.ravel(y).astype(np.int64)):
        trainer = hl.Trainer(net(FEATURES, 5, OUTPUTS), loss="softmax_cross_entropy")
        trainer.fit(X, labels, epochs=2)
        theta.append(trainer.model.theta)
    np.testing.assert_array_equal(*theta)


def test_values_of_one_output_may_be_flat():
    theta = []
    for y in (VALUES[:, 0], VALUES[:, :1], VALUES[:, 0].tolist()):
        trainer = hl.Trainer(net(FEATURES, 5, 1), loss="mse")
        trainer.fit(X, y, epochs=2)
        theta.append(trainer.model.theta)
    np.testing.assert_array_equal(theta[0], theta[1])
    np.testing.assert_array_equal(theta[0], theta[2])
