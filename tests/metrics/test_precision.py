"""bfloat16 networks: near the float32 ones, with another fingerprint; float32 as it ever was."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from i2vbench.feature_store import extractor_fingerprint
from i2vbench.fingerprint import fingerprint
from i2vbench.metrics.features import inception
from i2vbench.metrics.features.efficientnet import EfficientNetExtractor
from i2vbench.metrics.features.i3d import I3DExtractor
from i2vbench.metrics.features.inception import InceptionExtractor

from .seeded_weights import seeded_clips, seeded_state
from .test_inception import DATA, relative_error

(CLIP,) = seeded_clips(1, 9, 64, 64, seed=3)
PRECISIONS = ("fp32", "bf16")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Extractor name -> the extractor in float32 and in bfloat16."""
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save(seeded_state(json.loads((DATA / "inception_keys.json").read_text())), path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inception, "resolve", lambda _: path)
        patch.setattr(inception, "sha256_of", lambda _: "seeded")
        yield {
            kind.name: tuple(kind(dtype=dtype) for dtype in PRECISIONS)
            for kind in (InceptionExtractor, I3DExtractor, EfficientNetExtractor)
        }


@pytest.mark.parametrize("name", ["inception", "i3d", "efficientnet-lite0"])
@pytest.mark.bf16
def test_features_are_near_those_of_float32(pairs, name):
    exact, reduced = (extractor.extract([CLIP], [""])[0] for extractor in pairs[name])
    assert set(exact) == set(reduced)
    for key in exact:
        assert reduced[key].dtype == np.float32
        # Eight bits of mantissa, through some fifty layers: 1e-3 would mean that nothing was cast.
        assert 1e-4 < relative_error(reduced[key], exact[key]) < 0.05, key


@pytest.mark.parametrize("name", ["inception", "i3d", "efficientnet-lite0"])
@pytest.mark.bf16
def test_bfloat16_is_another_fingerprint_and_float32_the_old_one(pairs, name):
    exact, reduced = pairs[name]
    before = {"extractor": exact.name, "version": exact.version, "spec": exact.spec()}
    assert extractor_fingerprint(exact) == fingerprint(before)
    assert "dtype" not in exact.spec()
    assert extractor_fingerprint(reduced) != extractor_fingerprint(exact)
