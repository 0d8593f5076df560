"""Records what VBench-I2V's code reads from tracks: ``python record.py CHECKOUT_OF_VBENCH``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[2]), sys.argv[1]]

# The package imports every dimension, and the module its painter of tracks; neither is asked here.
package = ModuleType("vbench2_beta_i2v")
package.__path__ = [f"{sys.argv[1]}/vbench2_beta_i2v"]
painter = ModuleType("visualizer")
painter.Visualizer = None
sys.modules["vbench2_beta_i2v"] = package
sys.modules["vbench2_beta_i2v.third_party.cotracker.utils.visualizer"] = painter

from vbench2_beta_i2v.camera_motion import CameraPredict  # noqa: E402

from tests.metrics.test_camera_motion import random_cases  # noqa: E402

labels = []
for first, last, height, width in random_cases():
    camera = CameraPredict.__new__(CameraPredict)
    camera.grid_size, camera.number_points, camera.scale = 10, 1, min(height, width)
    # As ``infer`` cuts the tracks to whole pixels.
    seen = camera.camera_classify(first.astype(int), last.astype(int))
    labels.append(sorted(set(seen) - {"None"}))
(HERE / "labels.json").write_text(json.dumps(labels) + "\n")
