"""What the adapter makes of a checkpoint's configuration and of a request's seed."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from i2vbench.clip import Geometry
from i2vbench.model import Request, load_model
from i2vbench.models.consisti2v import adapter as module
from i2vbench.sample import Sample


@pytest.mark.parametrize(
    ("sample_size", "pixels"),
    # The VAE's factor is 4; larger networks were trained at 256 pixels whatever they state.
    [(8, 32), (63, 252), (64, 256), (65, 256), (128, 256), (None, 256)],
)
def test_the_clips_have_the_size_that_was_trained(checkpoint, sample_size, pixels):
    path = checkpoint / "unet" / "config.json"
    config = {**json.loads(path.read_text()), "sample_size": sample_size}
    if sample_size is None:
        del config["sample_size"], config["n_frames"]
    path.write_text(json.dumps(config))
    model = load_model("consisti2v", {"checkpoint": str(checkpoint), "segments": 2})
    frames = 2 * 15 + 1 if sample_size is None else 2 * 3 + 1
    assert model.geometry == Geometry(num_frames=frames, height=pixels, width=pixels, fps=8)


@pytest.mark.parametrize("revision", [None, "v2"])
def test_the_revision_reaches_the_repository(monkeypatch, tmp_path, revision):
    asked = {}

    def folder(source, **how):
        asked.update(how, source=source)
        return tmp_path

    monkeypatch.setattr(module, "checkpoint_folder", folder)
    options = {"checkpoint": "someone/something"}
    if revision is not None:
        options["revision"] = revision
    assert load_model("consisti2v", options).folder == tmp_path
    assert asked == {"source": "someone/something", "revision": revision, "without_weights": True}


@pytest.mark.parametrize("local", [True, False])
def test_the_weights_are_those_of_the_card(monkeypatch, tmp_path, local):
    """Of a repository the commit that the card names; a folder has none."""
    asked = {}

    def loaded(source, **how):
        asked.update(how, source=source)

    monkeypatch.setattr(
        "i2vbench.models.consisti2v.pipeline.ConsistI2VPipeline.from_pretrained", loaded
    )
    monkeypatch.setattr(module, "checkpoint_folder", lambda *_, **__: tmp_path / "commit0123")
    source = str(tmp_path) if local else "someone/something"
    model = load_model("consisti2v", {"checkpoint": source, "offload": "model", "compile": True})
    model.pipeline  # noqa: B018
    assert asked["source"] == source
    assert asked["revision"] == (None if local else "commit0123")
    assert (asked["offload"], asked["compile_unet"]) == ("model", True)
    assert asked["allow_pickle"] is False


def test_drawn_pictures_have_seeds_of_their_own(checkpoint):
    """One that is not the clip's, and changes with it."""
    drawn = []

    def draw(prompts, generators):
        drawn.append((prompts, [generator.initial_seed() for generator in generators]))
        return [np.zeros((8, 8, 3), np.uint8) for _ in prompts]

    model = load_model("consisti2v", {"checkpoint": str(checkpoint)})
    model.__dict__["text_to_image"] = SimpleNamespace(draw=draw)
    geometry = Geometry(num_frames=4, height=32, width=32, fps=8)
    requests = [
        Request(sample=Sample(id=name, prompt=f"p {name}"), take=0, seed=0, geometry=geometry)
        for name in "ab"
    ]
    assert len(model._first_frames(requests)) == 2
    ((prompts, seeds),) = drawn
    assert prompts == ["p a", "p b"]
    assert seeds == [request.noise_seed ^ 0x5EEDF1A5 for request in requests]
    assert len(set(seeds)) == 2
