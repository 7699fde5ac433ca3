"""Data sets: the MNIST files, images that need no file at all, and the format they are kept in."""

from .idx import read_idx
from .mnist import load_mnist
from .synthetic import synthetic_digits

__all__ = ["load_mnist", "read_idx", "synthetic_digits"]
