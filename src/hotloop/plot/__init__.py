"""Pictures of training, of networks and of their loss; each takes the `ax` to draw on, or makes a figure.

They need the extra ``plot`` (Matplotlib), which is imported when the first picture is drawn.
"""

from .animation import animate_descent
from .classes import confusion_matrix, decision_regions
from .curves import training_curves
from .diagram import network
from .kernels import weights
from .spectra import spectrum
from .surfaces import error_surface, landscape

__all__ = [
    "animate_descent",
    "confusion_matrix",
    "decision_regions",
    "error_surface",
    "landscape",
    "network",
    "spectrum",
    "training_curves",
    "weights",
]
