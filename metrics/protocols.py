"""The named choices of metrics."""

from __future__ import annotations

from i2vbench.protocol import Protocol

EMBEDDED = Protocol(
    name="embedded",
    version="1",
    source=(
        "the metrics of ConsistI2V (arXiv 2402.04324, section 5) and of VBench "
        "(arXiv 2311.17982) with networks that ship inside; not comparable with either"
    ),
    metrics=(
        "fvd",
        "fid",
        "is",
        "clipsim",
        "lpips_first_frame",
        "lpips_reference",
        "subject_consistency",
        "background_consistency",
        "motion_smoothness",
        "temporal_flickering",
        "dynamic_degree",
    ),
)
"""On all frames of a clip; what larger sets allow (KVD, KID, FVD∞, precision ...) is on request."""
