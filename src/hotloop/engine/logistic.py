"""Logistic regression on dense rows: loss, gradient and Hessian-vector product, each one pass over X.

Two classes have one logit z = w·x + b and labels ±1; K classes have K logits, of which softmax makes
shares p. Of a row of weight s, with the loss ℓ:

    two classes   ℓ = ln(1 + e^−yz)        dℓ/dz = −y σ(−yz)     d²ℓ/dz² = σ(z) σ(−z)
    K classes     ℓ = ln Σ e^z − z_label   dℓ/dz = p − e_label   d²ℓ/dz² = diag(p) − p pᵀ

θ is flat: the rows of W (K, p), then b (K,) if there is an intercept. X is float32 or float64 in C order;
all else is float64, so that float32 data lose nothing in the sums. Formulas: ``notes/003``, softmax and
cross-entropy; no power of e has a positive exponent, so no logit overflows.
"""

from hotloop._jit import kernel, kernel_inline
from hotloop.engine.mathfun import exp, log, log1p

__all__ = [
    "binary_gradient",
    "binary_hvp",
    "binary_slopes",
    "softmax_bend",
    "softmax_gradient",
    "softmax_hvp",
    "softmax_slopes",
]


@kernel_inline
def binary_row(z, sign):
    """ℓ, dℓ/dz and d²ℓ/dz²."""
    lead = sign * z
    e = exp(-abs(lead))
    wrong = 1.0 / (1.0 + e) if lead < 0.0 else e / (1.0 + e)
    loss = log1p(e) - (lead if lead < 0.0 else 0.0)
    return loss, -sign * wrong, e / ((1.0 + e) * (1.0 + e))


@kernel_inline
def softmax_row(z, label):
    """ℓ; z becomes p."""
    peak = z[0]
    for k in range(1, len(z)):
        peak = max(peak, z[k])
    own, total = z[label] - peak, 0.0
    for k in range(len(z)):
        z[k] = exp(z[k] - peak)
        total += z[k]
    for k in range(len(z)):
        z[k] /= total
    return log(total) - own


@kernel_inline
def dot(x, w):
    """x·w in float64."""
    total = 0.0
    for j in range(len(x)):
        total += x[j] * w[j]
    return total


@kernel_inline
def add_scaled(out, factor, x):
    """out += factor · x"""
    for j in range(len(x)):
        out[j] += factor * x[j]


# --- dense rows -------------------------------------------------------------------------------------


@kernel
def binary_gradient(X, signs, weights, theta, curvature, grad):
    """Σ s ℓ, returned; its gradient is added to `grad`; s d²ℓ/dz² goes to `curvature` (n,)."""
    n, p = X.shape
    has_intercept = len(theta) > p
    b, total, pull = theta[p] if has_intercept else 0.0, 0.0, 0.0
    for i in range(n):
        loss, slope, bend = binary_row(dot(X[i], theta[:p]) + b, signs[i])
        total += weights[i] * loss
        curvature[i] = weights[i] * bend
        slope *= weights[i]
        add_scaled(grad[:p], slope, X[i])
        pull += slope
    if has_intercept:
        grad[p] += pull
    return total


@kernel
def binary_hvp(X, curvature, v, out):
    """out += H v, with `curvature` as `binary_gradient` left it."""
    n, p = X.shape
    has_intercept = len(v) > p
    c, pull = v[p] if has_intercept else 0.0, 0.0
    for i in range(n):
        slope = curvature[i] * (dot(X[i], v[:p]) + c)
        add_scaled(out[:p], slope, X[i])
        pull += slope
    if has_intercept:
        out[p] += pull


@kernel_inline
def logits_of(z, x, theta):
    """z (K,) = W x + b"""
    p, n_classes = len(x), len(z)
    biases = theta[n_classes * p :]
    for k in range(n_classes):
        z[k] = dot(x, theta[k * p : (k + 1) * p])
    for k in range(len(biases)):
        z[k] += biases[k]


@kernel_inline
def add_outer(grad, slopes, x):
    """grad += slopes xᵀ, and slopes to the intercepts"""
    p, n_classes = len(x), len(slopes)
    biases = grad[n_classes * p :]
    for k in range(n_classes):
        add_scaled(grad[k * p : (k + 1) * p], slopes[k], x)
    for k in range(len(biases)):
        biases[k] += slopes[k]


@kernel
def softmax_gradient(X, labels, weights, theta, shares, slopes, grad):
    """Σ s ℓ, returned; its gradient is added to `grad`; p goes to `shares` (n, K). `slopes` (K,): scratch."""
    total = 0.0
    for i in range(len(X)):
        p, label = shares[i], labels[i]
        logits_of(p, X[i], theta)
        total += weights[i] * softmax_row(p, label)
        for k in range(len(p)):
            slopes[k] = weights[i] * p[k]
        slopes[label] -= weights[i]
        add_outer(grad, slopes, X[i])
    return total


@kernel
def softmax_hvp(X, weights, shares, v, slopes, out):
    """out += H v, with `shares` as `softmax_gradient` left them. `slopes` (K,): scratch."""
    for i in range(len(X)):
        logits_of(slopes, X[i], v)
        bend_row(slopes, shares[i], weights[i])
        add_outer(out, slopes, X[i])


@kernel_inline
def bend_row(u, p, weight):
    """u ← s (diag(p) − p pᵀ) u"""
    mean = dot(p, u)
    for k in range(len(u)):
        u[k] = weight * p[k] * (u[k] - mean)


# --- logits that are known --------------------------------------------------------------------------


@kernel
def binary_slopes(z, signs, weights, slopes, curvature):
    """Σ s ℓ, returned, of logits z (n,); s dℓ/dz and s d²ℓ/dz²."""
    total = 0.0
    for i in range(len(z)):
        loss, slope, bend = binary_row(z[i], signs[i])
        total += weights[i] * loss
        slopes[i], curvature[i] = weights[i] * slope, weights[i] * bend
    return total


@kernel
def softmax_slopes(z, labels, weights, slopes, shares):
    """Σ s ℓ, returned, of logits z (n, K); s dℓ/dz and p, both (n, K)."""
    total = 0.0
    for i in range(len(z)):
        logits, p, slope = z[i], shares[i], slopes[i]
        for k in range(len(logits)):
            p[k] = logits[k]
        total += weights[i] * softmax_row(p, labels[i])
        for k in range(len(p)):
            slope[k] = weights[i] * p[k]
        slope[labels[i]] -= weights[i]
    return total


@kernel
def softmax_bend(u, shares, weights):
    """u (n, K) ← s d²ℓ/dz² u, row by row."""
    for i in range(len(u)):
        bend_row(u[i], shares[i], weights[i])
