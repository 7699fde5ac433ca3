"""What a network has learned after fixed epochs: faster is no progress if it learns less.

Seeds are fixed and results do not depend on threads, so a change here is a change in the arithmetic.
Errors are tracked, not accuracies: asv takes an increase for a regression.
"""

from .common import classifier, digits, warm

warm()


class DigitsError:
    """784-128-10, batch 32, on 4,096 synthetic digits, tested on 2,000 others."""

    params = (["sgd", "adam"],)
    param_names = ("optimizer",)
    timeout = 120

    def setup(self, optimizer):
        trainer = classifier((784, 128, 10), 32, optimizer=optimizer)
        history = trainer.fit(*digits(), epochs=8)
        self.loss = history["loss"][-1]
        self.accuracy = trainer.evaluate(*digits(2000, seed=1))["accuracy"]

    def track_test_error(self, optimizer):
        """1 − accuracy on images that were not trained on."""
        return 100 * (1 - self.accuracy)

    track_test_error.unit = "%"

    def track_training_loss(self, optimizer):
        """Mean cross-entropy of the last epoch."""
        return self.loss

    track_training_loss.unit = "nats"
