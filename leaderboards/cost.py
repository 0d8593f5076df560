"""What a model costs, as columns of a board: the figures of a run's ``profile.json``.

They are columns like metrics, so that every format has them. Seconds and memory of another device,
precision or batch size stand in a column of their own, and no column of costs ranks unless it is
asked to.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from i2vbench.fingerprint import fingerprint
from i2vbench.profile import Profile, load_profile
from i2vbench.results import Results, Score

COST_LEVEL: Final = "model"
"""In place of ``clip`` and ``set``: no clips are in the value."""
NOT_PROFILED: Final = "not profiled: see `i2vbench profile --run`"


def with_profile(results: Results, folder: Path) -> Results:
    """``results`` with the profile in run directory ``folder`` as scores; unchanged without one.

    Raises:
        UserError: a ``profile.json`` that cannot be read.
    """
    profile = load_profile(folder)
    if profile is None:
        return results
    scores = list(_scores(profile))
    # What a model costs stands beside its scores under each protocol.
    costs = (
        dataclasses.replace(score, protocol=protocol)
        for protocol in results.protocols
        for score in scores
    )
    return dataclasses.replace(results, scores=(*results.scores, *costs))


def _scores(profile: Profile) -> Iterator[Score]:
    if profile.num_parameters is not None:
        yield _score("parameters", "Parameters(M)", profile.num_parameters / 1e6, None, "M")
    if profile.flops_per_clip is not None:
        yield _score("tflop_per_clip", "TFLOP/clip", profile.flops_per_clip / 1e12, False, "TFLOP")
    where = profile.circumstances
    place = {
        "device": profile.device,
        "num_threads": profile.num_threads,
        "dtype": profile.dtype,
        "batch_size": profile.batch_size,
    }
    if profile.seconds_per_clip is not None:
        yield _score(
            "seconds_per_clip", f"s/clip({where})", profile.seconds_per_clip, False, "s", **place
        )
    if profile.peak_memory_mib is not None:
        yield _score(
            "peak_memory_mib", f"Peak MiB({where})", profile.peak_memory_mib, False, "MiB", **place
        )


def _score(
    metric: str,
    label: str,
    value: float,
    higher_is_better: bool | None,
    unit: str,
    **place: str | int | None,
) -> Score:
    return Score(
        metric=metric,
        label=label,
        value=value,
        higher_is_better=higher_is_better,
        unit=unit,
        level=COST_LEVEL,
        n_scored=0,
        n_expected=0,
        fingerprint=fingerprint({"metric": metric, **place}),
    )
