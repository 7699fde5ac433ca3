"""Nopython kernels on flat arrays. They see numbers, never a layer object; the face has checked them."""
