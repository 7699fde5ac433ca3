"""Each kernel's slow, obvious twin in NumPy: what the fast code is held to, always in float64.

A network is the tuple of its `hotloop.Dense` specs and θ is flat, as in the library, so both sides
can be given the same arguments. Shapes: x (n, features), outputs (n, units), weights (n,), and
targets (n, units) of values or (n, 1) of classes.
"""

import math

import numpy as np


def multiply(start, a, b):
    return start + a @ b


def _sigmoid(z):
    # Each branch only where its exponent is negative.
    small = np.exp(-np.abs(z))
    return np.where(z >= 0, 1 / (1 + small), small / (1 + small))


def _where_positive(above, below):
    """above(z) for z > 0, else below(z), each called only where it counts."""
    return lambda z: np.where(z > 0, above(np.maximum(z, 0.0)), below(np.minimum(z, 0.0)))


_normal_cdf = np.vectorize(lambda z: math.erfc(-z / math.sqrt(2)) / 2, otypes=[float])


def _normal_pdf(z):
    return np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)


def _softplus(z):
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


def _mish_factor(z):
    """tanh(ln(1 + eᶻ)), and its derivative."""
    factor = np.tanh(_softplus(z))
    return factor, (1 - factor**2) * _sigmoid(z)


SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772

ACTIVATIONS = {
    "identity": (lambda z: z, lambda z: np.ones_like(z)),
    "relu": (lambda z: np.maximum(z, 0), lambda z: np.where(z > 0, 1.0, 0.0)),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "sigmoid": (_sigmoid, lambda z: _sigmoid(z) * _sigmoid(-z)),
    "leaky_relu": (lambda z: np.where(z > 0, z, 0.01 * z), lambda z: np.where(z > 0, 1.0, 0.01)),
    "elu": (_where_positive(lambda z: z, np.expm1), _where_positive(np.ones_like, np.exp)),
    "selu": (
        lambda z: SELU_SCALE * _where_positive(lambda z: z, lambda z: SELU_ALPHA * np.expm1(z))(z),
        lambda z: SELU_SCALE * _where_positive(np.ones_like, lambda z: SELU_ALPHA * np.exp(z))(z),
    ),
    "gelu": (lambda z: z * _normal_cdf(z), lambda z: _normal_cdf(z) + z * _normal_pdf(z)),
    "silu": (lambda z: z * _sigmoid(z), lambda z: _sigmoid(z) * (1 + z * _sigmoid(-z))),
    "mish": (lambda z: z * _mish_factor(z)[0], lambda z: _mish_factor(z)[0] + z * _mish_factor(z)[1]),
    "softplus": (_softplus, _sigmoid),
    "hard_sigmoid": (
        lambda z: np.clip((z + 3) / 6, 0, 1),
        lambda z: np.where((z > -3) & (z < 3), 1 / 6, 0.0),
    ),
}
"""Name → (f, f′), both of z."""


def _mse(outputs, targets):
    return ((outputs - targets) ** 2).sum(axis=1)


def _mse_gradient(outputs, targets):
    return 2 * (outputs - targets)


def _log_softmax(outputs):
    shifted = outputs - outputs.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _probabilities(outputs, targets, smoothing=0.0):
    """Targets as rows of probabilities: classes become one-hot rows."""
    n_classes = outputs.shape[1]
    p = targets if targets.shape[1] > 1 else np.arange(n_classes) == targets.astype(int)
    return (1 - smoothing) * p + smoothing / n_classes


def _softmax_cross_entropy(outputs, targets, smoothing=0.0):
    return -(_probabilities(outputs, targets, smoothing) * _log_softmax(outputs)).sum(axis=1)


def _softmax_cross_entropy_gradient(outputs, targets, smoothing=0.0):
    return np.exp(_log_softmax(outputs)) - _probabilities(outputs, targets, smoothing)


def _kl_divergence(outputs, targets):
    logs = np.log(targets, out=np.zeros_like(targets), where=targets > 0)
    return (targets * (logs - _log_softmax(outputs))).sum(axis=1)


def _mae(outputs, targets):
    return np.abs(outputs - targets).sum(axis=1)


def _mae_gradient(outputs, targets):
    return np.sign(outputs - targets)


def _huber(outputs, targets, delta=1.0):
    size = np.abs(outputs - targets)
    return np.where(size <= delta, size**2 / 2, delta * (size - delta / 2)).sum(axis=1)


def _huber_gradient(outputs, targets, delta=1.0):
    return np.clip(outputs - targets, -delta, delta)


def _sigmoid_cross_entropy(outputs, targets):
    # −log σ(z) = log(1 + e^−z)
    return (targets * np.logaddexp(0, -outputs) + (1 - targets) * np.logaddexp(0, outputs)).sum(axis=1)


def _sigmoid_cross_entropy_gradient(outputs, targets):
    return _sigmoid(outputs) - targets


def _tangent_exp(x, bend=30.0):
    """eˣ and its slope; beyond the bend the tangent there."""
    slope = np.exp(np.minimum(x, bend))
    return slope * (1 + np.maximum(x - bend, 0)), slope


def _gaussian_nll(outputs, targets):
    mean, log_variance = np.split(outputs, 2, axis=1)
    precision = _tangent_exp(-log_variance)[0]
    return 0.5 * (np.log(2 * np.pi) + log_variance + (mean - targets) ** 2 * precision).sum(axis=1)


def _gaussian_nll_gradient(outputs, targets):
    mean, log_variance = np.split(outputs, 2, axis=1)
    precision, slope = _tangent_exp(-log_variance)
    error = mean - targets
    return np.concatenate([error * precision, (1 - error**2 * slope) / 2], axis=1)


def _poisson_nll(outputs, targets):
    return (_tangent_exp(outputs)[0] - targets * outputs).sum(axis=1)


def _poisson_nll_gradient(outputs, targets):
    return _tangent_exp(outputs)[1] - targets


def _lead(outputs, targets):
    """(how far the right answer is ahead, ∂ of it with respect to the outputs)."""
    if outputs.shape[1] == 1:
        return (targets * outputs)[:, 0], targets
    right = np.arange(outputs.shape[1]) == targets.astype(int)
    others = np.where(right, -np.inf, outputs)
    rival = np.arange(outputs.shape[1]) == others.argmax(axis=1)[:, None]
    return outputs[right] - others.max(axis=1), right * 1.0 - rival


def _hinge(outputs, targets, margin=1.0, power=1):
    return np.maximum(margin - _lead(outputs, targets)[0], 0) ** power


def _hinge_gradient(outputs, targets):
    lead, gradient = _lead(outputs, targets)
    return -gradient * (lead < 1)[:, None]


def _squared_hinge_gradient(outputs, targets):
    lead, gradient = _lead(outputs, targets)
    return -gradient * 2 * np.maximum(1 - lead, 0)[:, None]


def _perceptron_gradient(outputs, targets):
    lead, gradient = _lead(outputs, targets)
    return -gradient * (lead <= 0)[:, None]


LOSSES = {
    "mse": (_mse, _mse_gradient),
    "mae": (_mae, _mae_gradient),
    "huber": (_huber, _huber_gradient),
    "gaussian_nll": (_gaussian_nll, _gaussian_nll_gradient),
    "poisson_nll": (_poisson_nll, _poisson_nll_gradient),
    "softmax_cross_entropy": (_softmax_cross_entropy, _softmax_cross_entropy_gradient),
    "kl_divergence": (_kl_divergence, _softmax_cross_entropy_gradient),
    "sigmoid_cross_entropy": (_sigmoid_cross_entropy, _sigmoid_cross_entropy_gradient),
    "hinge": (_hinge, _hinge_gradient),
    "squared_hinge": (lambda z, y: _hinge(z, y, power=2), _squared_hinge_gradient),
    "perceptron": (lambda z, y: _hinge(z, y, margin=0.0), _perceptron_gradient),
}
"""Name → (loss of each row, its gradient with respect to the outputs); some take an option."""


def unpack(layers, n_in, theta):
    """[(W, b or 0)] of every layer, cut from θ."""
    theta, parts = np.asarray(theta, np.float64), []
    for layer in layers:
        kernel, theta = np.split(theta, [n_in * layer.units])
        bias, theta = np.split(theta, [layer.units if layer.use_bias else 0])
        parts.append((kernel.reshape(n_in, layer.units), bias if layer.use_bias else 0.0))
        n_in = layer.units
    assert theta.size == 0
    return parts


def forward(layers, theta, x):
    """(inputs of every layer and the final outputs, z of every layer)."""
    values, inner = [np.asarray(x, np.float64)], []
    for layer, (kernel, bias) in zip(layers, unpack(layers, values[0].shape[1], theta), strict=True):
        inner.append(values[-1] @ kernel + bias)
        values.append(ACTIVATIONS[layer.activation][0](inner[-1]))
    return values, inner


def predict(layers, theta, x):
    return forward(layers, theta, x)[0][-1]


def value(layers, loss, theta, x, targets, weights):
    """Σ weight · loss / Σ weight."""
    return weights @ LOSSES[loss][0](predict(layers, theta, x), targets) / weights.sum()


def gradient(layers, loss, theta, x, targets, weights):
    """∂ value / ∂θ, by the chain rule."""
    values, inner = forward(layers, theta, x)
    weights = np.asarray(weights, np.float64)
    delta = LOSSES[loss][1](values[-1], targets) * (weights / weights.sum())[:, None]
    parts = []
    for k in reversed(range(len(layers))):
        delta = delta * ACTIVATIONS[layers[k].activation][1](inner[k])
        if layers[k].use_bias:
            parts.append(delta.sum(axis=0))
        parts.append((values[k].T @ delta).ravel())
        delta = delta @ unpack(layers, values[0].shape[1], theta)[k][0].T
    return np.concatenate(parts[::-1])


def accuracy(layers, theta, x, targets, weights):
    return weights @ (predict(layers, theta, x).argmax(axis=1) == targets[:, 0]) / weights.sum()


# Optimizers, word by word from their papers: each is a generator that is sent a gradient and gives the
# change of θ. `o` is the description, `rates` the rate of each step.


def walk(optimizer, gradient_of, theta, rates):
    """θ after each step, (steps, θ.size)."""
    changes, path = OPTIMIZERS[type(optimizer).__name__](optimizer, np.array(theta, float), rates), []
    next(changes)
    for _ in rates:
        theta = theta + changes.send((theta, gradient_of(theta)))
        path.append(theta)
    return np.array(path)


def sgd(o, theta, rates):
    v, change = 0.0, None
    for rate in rates:
        _, g = yield change
        v = o.momentum * v + g
        change = -rate * (g + o.momentum * v if o.nesterov else v)
    yield change


def adam(o, theta, rates, decay=0.0):
    m, v, largest, change = 0.0, 0.0, 0.0, None
    for t, rate in enumerate(rates, start=1):
        theta, g = yield change
        m = o.betas[0] * m + (1 - o.betas[0]) * g
        v = o.betas[1] * v + (1 - o.betas[1]) * g**2
        largest = np.maximum(largest, v)
        m_hat = m / (1 - o.betas[0] ** t)
        v_hat = (largest if o.amsgrad else v) / (1 - o.betas[1] ** t)
        change = -rate * decay * theta - rate * m_hat / (np.sqrt(v_hat) + o.eps)
    yield change


def adamw(o, theta, rates):
    return adam(o, theta, rates, o.weight_decay)


def adamax(o, theta, rates):
    m, u, change = 0.0, 0.0, None
    for t, rate in enumerate(rates, start=1):
        _, g = yield change
        m = o.betas[0] * m + (1 - o.betas[0]) * g
        u = np.maximum(o.betas[1] * u, np.abs(g) + o.eps)
        change = -rate / (1 - o.betas[0] ** t) * m / u
    yield change


def nadam(o, theta, rates):
    m, v, product, change = 0.0, 0.0, 1.0, None
    for t, rate in enumerate(rates, start=1):
        _, g = yield change
        mu, mu_next = (o.betas[0] * (1 - 0.5 * 0.96 ** (k * o.momentum_decay)) for k in (t, t + 1))
        product *= mu
        m = o.betas[0] * m + (1 - o.betas[0]) * g
        v = o.betas[1] * v + (1 - o.betas[1]) * g**2
        m_bar = (1 - mu) / (1 - product) * g + mu_next / (1 - product * mu_next) * m
        change = -rate * m_bar / (np.sqrt(v / (1 - o.betas[1] ** t)) + o.eps)
    yield change


def radam(o, theta, rates):
    m, v, change = 0.0, 0.0, None
    beta2 = o.betas[1]
    limit = 2 / (1 - beta2) - 1
    for t, rate in enumerate(rates, start=1):
        _, g = yield change
        m = o.betas[0] * m + (1 - o.betas[0]) * g
        v = beta2 * v + (1 - beta2) * g**2
        change = -rate * m / (1 - o.betas[0] ** t)
        rho = limit - 2 * t * beta2**t / (1 - beta2**t)
        if rho > 5:
            r = np.sqrt((rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho))
            change = change * r * np.sqrt(1 - beta2**t) / (np.sqrt(v) + o.eps)
    yield change


def adabelief(o, theta, rates):
    m, s, change = 0.0, 0.0, None
    for t, rate in enumerate(rates, start=1):
        _, g = yield change
        m = o.betas[0] * m + (1 - o.betas[0]) * g
        s = o.betas[1] * s + (1 - o.betas[1]) * (g - m) ** 2 + o.eps
        s_hat = s / (1 - o.betas[1] ** t)
        change = -rate * m / (1 - o.betas[0] ** t) / (np.sqrt(s_hat) + o.eps)
    yield change


def adagrad(o, theta, rates):
    r, change = o.initial_accumulator, None
    for rate in rates:
        _, g = yield change
        r = r + g**2
        change = -rate * g / (np.sqrt(r) + o.eps)
    yield change


def adadelta(o, theta, rates):
    s, u, change = 0.0, 0.0, None
    for rate in rates:
        _, g = yield change
        s = o.rho * s + (1 - o.rho) * g**2
        delta = np.sqrt(u + o.eps) / np.sqrt(s + o.eps) * g
        u = o.rho * u + (1 - o.rho) * delta**2
        change = -rate * delta
    yield change


def rmsprop(o, theta, rates):
    s, mean, v, change = 0.0, 0.0, 0.0, None
    for rate in rates:
        _, g = yield change
        s = o.alpha * s + (1 - o.alpha) * g**2
        mean = o.alpha * mean + (1 - o.alpha) * g
        root = np.sqrt(s - mean**2) if o.centered else np.sqrt(s)
        v = o.momentum * v + g / (root + o.eps)
        change = -rate * v
    yield change


def rprop(o, theta, rates):
    size, before, change = np.full_like(theta, o.lr), np.zeros_like(theta), None
    for _ in rates:
        _, g = yield change
        turned, kept = g * before < 0, g * before > 0
        size = np.clip(size * np.where(turned, o.etas[0], np.where(kept, o.etas[1], 1)), *o.step_sizes)
        before = np.where(turned, 0, g)
        change = -np.sign(before) * size
    yield change


def lion(o, theta, rates):
    m, change = 0.0, None
    for rate in rates:
        theta, g = yield change
        change = -rate * (np.sign(o.betas[0] * m + (1 - o.betas[0]) * g) + o.weight_decay * theta)
        m = o.betas[1] * m + (1 - o.betas[1]) * g
    yield change


def schedule_free_sgd(o, theta, rates):
    z, x, change = theta, theta, None
    for rate, share in zip(rates, averaging(o, rates), strict=True):
        y, g = yield change
        z = z - rate * (g + o.weight_decay * y)
        x = (1 - share) * x + share * z
        change = (1 - o.momentum) * z + o.momentum * x - y
    yield change


def schedule_free_adamw(o, theta, rates):
    z, x, v, change = theta, theta, 0.0, None
    for t, (rate, share) in enumerate(zip(rates, averaging(o, rates), strict=True), start=1):
        y, g = yield change
        v = o.betas[1] * v + (1 - o.betas[1]) * g**2
        scaled = g / (np.sqrt(v / (1 - o.betas[1] ** t)) + o.eps)
        z = z - rate * (scaled + o.weight_decay * y)
        x = (1 - share) * x + share * z
        change = (1 - o.betas[0]) * z + o.betas[0] * x - y
    yield change


def averaging(o, rates):
    """How much of z goes into the average, for each step."""
    weights = [t**o.r * max(rates[:t]) ** o.weight_lr_power for t in range(1, len(rates) + 1)]
    return [w / sum(weights[:t]) if w else 0.0 for t, w in enumerate(weights, start=1)]


OPTIMIZERS = {
    "SGD": sgd, "Adam": adam, "AdamW": adamw, "Adamax": adamax, "NAdam": nadam, "RAdam": radam,
    "AdaBelief": adabelief, "Adagrad": adagrad, "Adadelta": adadelta, "RMSprop": rmsprop,
    "Rprop": rprop, "Lion": lion,
    "ScheduleFreeSGD": schedule_free_sgd, "ScheduleFreeAdamW": schedule_free_adamw,
}  # fmt: skip


def central_differences(function, at, step=1e-6):
    """∂ function / ∂ at, one number after the other; `function` gives a number."""
    out = np.empty_like(at)
    for k in np.ndindex(at.shape):
        h = np.zeros_like(at)
        h[k] = step
        out[k] = (function(at + h) - function(at - h)) / (2 * step)
    return out


# --- coordinate descent -----------------------------------------------------------------------------


def soft_threshold(value, threshold, positive=False):
    shrunk = np.sign(value) * np.maximum(np.abs(value) - threshold, 0)
    return np.maximum(shrunk, 0) if positive else shrunk


def coordinate_sweeps(X, y, w, l1, l2, positive, orders, sweeps):
    """w after some sweeps over ½‖y − Xw‖² + λ₁‖w‖₁ + ½λ₂‖w‖², each coefficient in turn at its optimum."""
    w = np.array(w, np.float64)
    for sweep in range(sweeps):
        for j in orders[sweep % len(orders)]:
            w[j] = 0
            without_j = y - X @ w
            w[j] = soft_threshold(X[:, j] @ without_j, l1, positive) / (X[:, j] @ X[:, j] + l2)
    return w


def penalized_squares(X, y, w, l1, l2):
    """½‖y − Xw‖² + λ₁‖w‖₁ + ½λ₂‖w‖²"""
    residual = y - X @ w
    return residual @ residual / 2 + l1 * np.abs(w).sum() + l2 * (w @ w) / 2


def proximal_gradient(X, y, l1, l2, steps):
    """ISTA: w ← prox(w − ∇/L), without momentum."""
    L = np.linalg.norm(X, 2) ** 2
    w = np.zeros(X.shape[1])
    for _ in range(steps):
        w = soft_threshold(w + X.T @ (y - X @ w) / L, l1 / L) / (1 + l2 / L)
    return w


# The perceptron. `w` (rows, features + 1); X (n, features + 1) with the constant; labels −1 and 1, or rows.


def perceptron_leads(w, X, labels):
    scores = X @ w.T
    if len(w) == 1:
        return labels * scores[:, 0]
    own = np.take_along_axis(scores, labels[:, None], axis=1)[:, 0]
    np.put_along_axis(scores, labels[:, None], -np.inf, axis=1)
    return own - scores.max(axis=1)


def perceptron_errors(w, X, labels, steps):
    return steps[perceptron_leads(w, X, labels) <= 0].sum()


def perceptron(start, X, labels, steps, orders):
    """Weights after each sample, mistakes of each epoch, and the pocket."""
    w, pocket, best_run, run = start, start, 0, 0
    after, mistakes = [], []
    for order in orders:
        mistakes.append(0)
        for i in order:
            if steps[i] == 0:
                continue
            if perceptron_leads(w, X[[i]], labels[[i]])[0] > 0:
                run += 1
            else:
                args = X, labels, steps
                if run > best_run and perceptron_errors(w, *args) < perceptron_errors(pocket, *args):
                    pocket, best_run = w, run
                run, w = 0, w.copy()
                mistakes[-1] += 1
                if len(w) == 1:
                    w[0] += steps[i] * labels[i] * X[i]
                else:
                    scores = X[i] @ w.T
                    scores[labels[i]] = -np.inf
                    w[labels[i]] += steps[i] * X[i]
                    w[scores.argmax()] -= steps[i] * X[i]
            after.append(w)
    if perceptron_errors(w, X, labels, steps) < perceptron_errors(pocket, X, labels, steps):
        pocket = w
    return after, mistakes, pocket


# Penalties and limits on a kernel w, clipping, averages. `p` is the description.


def penalty_numbers(p):
    """(λ₁, λ₂) of λ₁ Σ|w| + ½ λ₂ Σw²; zeros for what is not of this form."""
    return {
        "L1": lambda: (p.strength, 0.0),
        "L2": lambda: (0.0, p.strength),
        "ElasticNet": lambda: (p.strength, p.strength * p.beta),
    }.get(type(p).__name__, lambda: (0.0, 0.0))()


def penalty_value(p, w):
    """What the penalty adds to the loss; 0 for a limit."""
    if type(p).__name__ == "Nuclear":
        return p.strength * np.linalg.svd(w, compute_uv=False).sum()
    l1, l2 = penalty_numbers(p)
    return l1 * np.abs(w).sum() + l2 * (w**2).sum() / 2


def penalty_gradient(p, w):
    """A (sub)gradient of it."""
    if type(p).__name__ == "Nuclear":
        u, _, v = np.linalg.svd(w, full_matrices=False)
        return p.strength * u @ v
    l1, l2 = penalty_numbers(p)
    return l1 * np.sign(w) + l2 * w


def is_proximal(p):
    """Whether |w| or σ acts after the step, not in the gradient."""
    return type(p).__name__ == "Nuclear" or getattr(p, "proximal", False)


def after_step(p, w, rates):
    """The kernel after the penalty's or the limit's part of a step; `rates` are those of all steps so far."""
    kind = type(p).__name__
    if kind == "L0":
        return keep_largest(w, p.k)
    if kind == "MaxNorm":
        return limit_norms(w, p.limit)
    if kind == "Nuclear":
        return shrink_rank(w, p.strength * sum(rates[-p.every :])) if len(rates) % p.every == 0 else w
    return soft_threshold(w, rates[-1] * penalty_numbers(p)[0]) if is_proximal(p) else w


def keep_largest(w, k):
    """All but the k largest |w| are 0; of equal ones the first stay."""
    kept = np.zeros(w.size, bool)
    kept[np.argsort(-np.abs(w.ravel()), kind="stable")[:k]] = True
    return np.where(kept.reshape(w.shape), w, 0)


def limit_norms(w, limit):
    norms = np.linalg.norm(w, axis=0)
    return np.where(norms > limit, w * (limit / np.where(norms > limit, norms, 1)), w)


def shrink_rank(w, amount):
    """Soft threshold of the singular values."""
    u, s, v = np.linalg.svd(w, full_matrices=False)
    return u @ np.diag(np.maximum(s - amount, 0)) @ v


def clip_norm(g, most):
    return g * min(1, most / np.linalg.norm(g))


def ema(path, decay):
    """Of the rows of `path` (steps, θ.size), beginning with a copy of the first."""
    average = path[0]
    for theta in path[1:]:
        average = decay * average + (1 - decay) * theta
    return average


# --- networks with batch normalisation and dropout --------------------------------------------------
#
# Masks come from a hash of (seed, step, row of the layer table, index), here in Python's own integers.

MASK_32, MASK_64 = 2**32 - 1, 2**64 - 1


def mix(z):
    """The finaliser of SplitMix64."""
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK_64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK_64
    return z ^ (z >> 31)


def stream_key(seed, step, layer):
    key = 0
    for number in (seed, step, layer):
        key = mix((key ^ number) + 0x9E3779B97F4A7C15 & MASK_64)
    return key


def permutation(n, seed, epoch):
    """0 … n − 1, by Fisher and Yates' shuffle from inside out."""
    key, rows = stream_key(seed, epoch, 2**62), []
    for i in range(n):
        place = (mix((key + i * 0x9E3779B97F4A7C15) % 2**64) >> 32) * (i + 1) >> 32
        rows.append(i)
        rows[i], rows[place] = rows[place], i
    return rows


def random_bits(index, key):
    """lowbias32, keyed with the low half before its rounds and with the high half between them."""
    low, high = key & MASK_32, key >> 32
    h = (index + low) & MASK_32
    h = (h ^ (h >> 16)) * 0x7FEB352D & MASK_32
    h ^= high
    h = (h ^ (h >> 15)) * 0x846CA68B & MASK_32
    return h ^ (h >> 16)


def dropout_mask(n, rate, seed, step, layer):
    """Which of n numbers stay, (n,) of bool."""
    key = stream_key(seed, step, layer)
    return np.array([random_bits(i, key) >= int(rate * 2**32) for i in range(n)])


def softmax(z):
    return np.exp(_log_softmax(z))


def network_forward(model, X, training=False, seed=0, step=0, running=None):
    """(outputs, running statistics by name) of one batch; those given, or the model's, are left alone."""
    theta = {name: np.array(value, np.float64) for name, value in model.parameters().items()}
    running = {name: np.array(value, np.float64) for name, value in (running or model.buffers()).items()}
    values, row, seen = np.asarray(X, np.float64), 0, {}
    for layer in model.layers:
        kind = type(layer).__name__
        name = f"{kind.lower()}_{seen.setdefault(kind, 0)}"
        seen[kind] += 1
        if kind == "Dense":
            values = values @ theta[f"{name}/kernel"] + theta.get(f"{name}/bias", 0.0)
            if layer.activation != "identity":
                row += 1
        elif kind == "BatchNorm":
            mean, variance = running[f"{name}/mean"], running[f"{name}/variance"]
            if training and len(values) > 1:
                keep, batch = layer.momentum, (values.mean(axis=0), values.var(axis=0))
                unbiased = values.var(axis=0, ddof=1)
                running[f"{name}/mean"] = keep * mean + (1 - keep) * batch[0]
                running[f"{name}/variance"] = keep * variance + (1 - keep) * unbiased
                mean, variance = batch
            values = (values - mean) / np.sqrt(variance + layer.eps)
            values = values * theta[f"{name}/gamma"] + theta[f"{name}/beta"]
        elif kind == "Dropout" and training:
            kept = dropout_mask(values.size, layer.rate, seed, step, row).reshape(values.shape)
            values = np.where(kept, values / (1 - layer.rate), 0.0)
        elif kind == "Standardize":
            values = (values - running[f"{name}/mean"]) / running[f"{name}/deviation"]
        activation = {"Dense": "activation", "Activation": "name"}.get(kind)
        values = (
            _activated(values, getattr(layer, activation), theta.get(f"{name}/slope"))
            if activation
            else values
        )
        row += 1
    return values, running


def _activated(z, name, slopes):
    if name == "prelu":
        return np.where(z > 0, z, slopes * z)
    return softmax(z) if name == "softmax" else ACTIVATIONS[name][0](z)


# --- logistic regression ----------------------------------------------------------------------------


def logistic(X, y, weights, W, b):
    """Σ s ℓ, its gradient (K, p + 1), and its Hessian (K (p + 1), K (p + 1)), row by row.

    W (1, p): y in ±1; W (K, p): y in 0 … K − 1. The last column of the gradient belongs to b.
    """
    value, gradient, hessian = 0.0, 0.0, 0.0
    for x, label, s in zip(X, y, weights, strict=True):
        x1 = np.append(x, 1.0)
        z = W @ x + b
        if len(W) == 1:
            p = 1 / (1 + np.exp(-z))
            slope, bend, loss = p - (label > 0), np.diag(p * (1 - p)), np.log1p(np.exp(-label * z[0]))
        else:
            p = np.exp(z) / np.exp(z).sum()
            slope, bend, loss = p - np.eye(len(z))[label], np.diag(p) - np.outer(p, p), -np.log(p[label])
        value += s * loss
        gradient += s * np.outer(slope, x1)
        hessian += s * np.kron(bend, np.outer(x1, x1))
    return value, gradient, hessian


def newton_model(gradient, hessian, start, l1, l2, sweeps):
    """W after sweeps over gᵀd + ½ dᵀHd + λ₁‖W‖₁ + ½λ₂‖W‖², d = W − start: each coefficient to its optimum."""
    w = start.ravel().copy()
    l1, l2 = (np.broadcast_to(penalty, start.shape).ravel() for penalty in (l1, l2))
    for _ in range(sweeps):
        for c in range(len(w)):
            bend = hessian[c, c] + l2[c]
            slope = gradient.ravel()[c] + hessian[c] @ (w - start.ravel()) + l2[c] * w[c]
            w[c] = soft_threshold(bend * w[c] - slope, l1[c]) / bend
    return w.reshape(start.shape)
