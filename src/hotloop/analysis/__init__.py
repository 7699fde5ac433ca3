"""The geometry of the loss surface: tools that take an `Objective`."""
