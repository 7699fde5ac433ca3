"""Minimizers of L(θ): `minimize` is the face, each family of methods a module with its loop."""
