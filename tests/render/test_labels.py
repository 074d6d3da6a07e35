from __future__ import annotations

from landscape.render.labels import optimizer_labels
from landscape.training.optimizers import describe


def test_optimizer_labels():
    texts = (
        "sgd:lr=0.1", "sgd:lr=0.1,momentum=0.9", "sgd:lr=0.1,momentum=0.9,nesterov=true", "adam",
        "rmsprop:lr=0.5", "sgd:lr=0.1,momentum=0.5", "landscape.training.sadam:SAdam:lr=0.01",
    )  # fmt: skip
    assert optimizer_labels([describe(text) for text in texts]) == [
        "SGD, lr 0.1", "momentum, lr 0.1, momentum 0.9", "Nesterov, lr 0.1", "Adam, lr 0.001", "RMSprop, lr 0.5",
        "momentum, lr 0.1, momentum 0.5", "SAdam, lr 0.01",
    ]  # fmt: skip
