"""The geometry of the loss surface, and the size of the weights."""
