"""Which seeds belong to whom: test, validation and training scenes share none by construction."""

from __future__ import annotations

from typing import Final

TEST_SEEDS: Final = (
    *range(44),
    *(46, 48, 49, 53, 56, 58, 60, 63, 64, 67, 68, 79, 80, 83, 85, 87, 90, 91, 92, 94),
)
"""The 64 scenes of the suite: the first seeds that balance motions and cameras (half static)."""
VALIDATION_SEED_START: Final = 500_000
"""Scenes for choosing sampling options."""
TRAIN_SEED_START: Final = 1_000_000
"""Training seeds are this and larger; all others are smaller."""
