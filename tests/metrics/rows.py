"""Rows and examples for the tests of set metrics."""

import numpy as np

from i2vbench.clip import Clip
from i2vbench.metric import Example


def rows(n, d, a, b):
    """(n, d) in [0, 1): the same on any machine, and without ties."""
    i = np.arange(n * d, dtype=np.int64)
    return ((i**2 * a + i * b) % 10007 / 10007).reshape(n, d)


def examples_of(metric, generated, reference, take=0):
    """An example per entry; an entry is what the metric's extractor made of that clip."""
    (extractor,) = metric.extractors
    clip = Clip(frames=np.zeros((2, 8, 8, 3), np.uint8), fps=8.0)
    return [
        Example(
            sample_id=f"s{number}",
            take=take,
            clip=clip,
            reference=clip,
            features={extractor: {metric.array: ours}},
            reference_features={extractor: {metric.array: real}},
        )
        for number, (ours, real) in enumerate(zip(generated, reference, strict=True))
    ]
