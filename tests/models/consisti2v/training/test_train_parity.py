"""Three optimizer steps of the original, with its draws (tests/data/consisti2v/README.md)."""

import json
import lzma
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load

from i2vbench.models.consisti2v.checkpoint import read_config
from i2vbench.models.consisti2v.networks import is_dead, load_text_encoder, load_tokenizer
from i2vbench.models.consisti2v.training.diffusion import NoiseSchedule
from i2vbench.models.consisti2v.training.loop import batch_losses
from i2vbench.models.consisti2v.training.network import build_adamw, recompute_layers
from i2vbench.models.consisti2v.training.progress import Ema
from i2vbench.models.consisti2v.training.recipe import Recipe
from i2vbench.models.consisti2v.training.webvid import TrainingClip
from i2vbench.models.consisti2v.unet import ConsistI2VUNet

SCALING = 0.18215
# As the run of the original was configured; what is not named is its default and ours.
RECIPE = Recipe(
    webvid_json="-",
    num_frames=8,
    size_px=64,
    learning_rate=1e-3,
    image_dropout=0.5,
    text_dropout=0.0,
    ema=True,
    batch_size=2,
)


@pytest.fixture(scope="module")
def case(request):
    data = request.config.rootpath / "tests" / "data" / "consisti2v"
    index = json.loads((data / "train_case.json").read_text())
    packed = load(lzma.decompress((data / "train_case.safetensors.xz").read_bytes()))
    weights = {key[5:]: value.float() for key, value in packed.items() if key.startswith("unet.")}
    return SimpleNamespace(**index, tensors=packed, weights=weights)


class RecordedDraws:
    """The draws of one step, in the order in which they must be asked for."""

    def __init__(self, tensors, step):
        names = ("posterior", "shared", "own", "timesteps")
        self._left = [tensors[f"{name}.{step}"] for name in names]
        self._no_image = tensors[f"no_image.{step}"]

    def _next(self, shape):
        drawn = self._left.pop(0)
        assert tuple(drawn.shape) == tuple(shape)
        return drawn

    def posterior(self, shape):
        return self._next(shape)

    def noise(self, shape):
        return self._next(shape)

    def timesteps(self):
        return self._next((2,))

    def uniforms(self):
        assert not self._left
        return torch.stack([torch.ones(2), torch.where(self._no_image, 0.0, 1.0)])


class RecordedPipeline:
    """The recorded VAE posterior, and the text encoder itself."""

    device = torch.device("cpu")
    needs_first_frame = True

    def __init__(self, components, tensors):
        self._tokenizer = load_tokenizer(components / "tokenizer")
        self._text_encoder = load_text_encoder(components / "text_encoder")
        self._tensors = tensors
        self.step = 0

    def encode_pixels(self, pixels_NCHW, draws):
        mean = self._tensors[f"posterior_mean.{self.step}"]
        std = self._tensors[f"posterior_std.{self.step}"]
        return (mean + std * draws.posterior(mean.shape)) * SCALING

    @torch.no_grad()
    def encode_text(self, texts):
        tokens = self._tokenizer(
            texts, padding="max_length", max_length=77, truncation=True, return_tensors="pt"
        )
        return self._text_encoder(tokens.input_ids).last_hidden_state


class Watched(torch.nn.Module):
    """Keeps what the network was asked."""

    def __init__(self, unet):
        super().__init__()
        self.unet = unet

    def forward(self, sample, timestep, text, **condition):
        self.asked = {"sample": sample, "first_frame": condition["first_frame_latents"]}
        return self.unet(sample, timestep, text, **condition)


@pytest.mark.parametrize("recomputed", [False, True])
def test_three_steps_of_the_original(case, components, recomputed):
    unet = ConsistI2VUNet.from_config(read_config(components / "unet"))
    lost, unknown = unet.load_state_dict(case.weights, strict=False)
    assert not unknown
    assert all(is_dead(key) for key in lost)
    if recomputed:
        recompute_layers(unet)
    network, pipeline = Watched(unet.train()), RecordedPipeline(components, case.tensors)
    optimizer, ema = build_adamw(unet, RECIPE), Ema(unet, RECIPE.ema_decay, lag=1)
    schedule, tensors = NoiseSchedule(), case.tensors
    for step in range(3):
        pipeline.step = step
        strides = tensors[f"stride.{step}"].tolist()
        clips = [
            TrainingClip(torch.zeros(8, 3, 1, 1), text, stride, (), "")
            for text, stride in zip(case.texts[step], strides, strict=True)
        ]
        draws = RecordedDraws(tensors, step)
        loss = batch_losses(network, pipeline, clips, draws, schedule, RECIPE).mean()
        for name, value in network.asked.items():
            torch.testing.assert_close(value, tensors[f"{name}.{step}"], rtol=1e-5, atol=1e-5)
        optimizer.zero_grad()
        loss.backward()
        assert loss.item() == pytest.approx(tensors[f"loss.{step}"].item(), rel=1e-4)
        trained = dict(unet.named_parameters())
        for name, norm in case.grad_norms[step].items():
            found = trained[name].grad
            # Biases that a norm behind them cancels have a gradient of rounding alone (T23).
            if norm > 1e-6:
                assert found.norm().item() == pytest.approx(norm, rel=2e-3), name
        norm = torch.nn.utils.clip_grad_norm_(unet.parameters(), RECIPE.max_grad_norm)
        assert norm.item() == pytest.approx(tensors[f"grad_norm.{step}"].item(), rel=1e-4)
        optimizer.step()
        unet.project_alphas()
        ema.update(unet)
    final = unet.state_dict()
    for key, value in tensors.items():
        if key.startswith("final."):
            torch.testing.assert_close(final[key[6:]], value, rtol=1e-3, atol=1e-4, msg=key)
        elif key.startswith("ema."):
            torch.testing.assert_close(ema.shadow[key[4:]], value, rtol=1e-3, atol=1e-4, msg=key)
