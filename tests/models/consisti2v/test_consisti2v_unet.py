"""The UNet against the recorded numbers of the original, and its own rules."""

import copy

import pytest
import torch

from i2vbench.errors import UserError
from i2vbench.models.consisti2v.config import UNetConfig
from i2vbench.models.consisti2v.networks import is_dead
from i2vbench.models.consisti2v.unet import ConsistI2VUNet

# Feature maps of one pixel give groups of two values, which amplify float32 rounding a hundredfold.
ILL_CONDITIONED = ["no_frame_stride", "sinusoidal_no_augment", "text77", "text_len_eq_frames"]
CASES = [
    "concat_rotary",
    "concat_sinusoidal",
    "frame_stride.fs1",
    "image_mode",
    "input_only",
    "mode_none",
    "no_augment",
    *ILL_CONDITIONED,
]


def relative_error(out, expected):
    return ((out - expected).norm() / expected.norm()).item()


def network(golden, overrides):
    unet = ConsistI2VUNet.from_config({**golden.config, **overrides})
    own = unet.state_dict()
    # The two layouts of positions share a weight file, in which dead tensors were left out.
    used = {key: tensor for key, tensor in golden.weights.items() if key in own}
    missing, extra = unet.load_state_dict(used, strict=False)
    assert not extra
    assert all(is_dead(key) for key in missing)
    return unet.eval()


def arguments(golden, case, dtype=torch.float32):
    tensors = {name: golden.tensors[key] for name, key in case["tensors"].items()}
    cast = {k: v.to(dtype) if v.is_floating_point() else v for k, v in tensors.items()}
    return {**cast, **case["scalars"]}


def small_inputs(clips=2, **changed):
    generator = torch.Generator().manual_seed(3)
    draw = {
        "sample": torch.randn(clips, 4, 3, 8, 8, generator=generator),
        "timestep": 501,
        "encoder_hidden_states": torch.randn(clips, 6, 32, generator=generator),
        "first_frame_latents": torch.randn(clips, 4, 1, 8, 8, generator=generator),
        "frame_stride": 3,
    }
    return {**draw, **changed}


def test_all_cases_are_tested(unet_cases):
    assert sorted(unet_cases.cases) == sorted(CASES)


@pytest.mark.parametrize("name", CASES)
def test_recorded_outputs(unet_cases, name):
    case = unet_cases.cases[name]
    dtype = torch.float64 if name in ILL_CONDITIONED else torch.float32
    unet = network(unet_cases, case["overrides"]).to(dtype)
    with torch.inference_mode():
        out = unet(**arguments(unet_cases, case, dtype))
    expected = unet_cases.tensors[case["out"]]
    assert out.shape == expected.shape
    # In float64 what remains is the rounding of the original itself: 8.5e-6 at most.
    assert relative_error(out, expected) < 1e-5


def test_recorded_modules(unet_cases):
    """Inputs of size 1e-3, where a wrong eps of a norm changes the output by half."""
    unet, tensors = network(unet_cases, {}), unet_cases.tensors
    text, frames = tensors["modules.text"], unet_cases.config["n_frames"]
    for name, keys in unet_cases.modules.items():
        module, x = unet.get_submodule(name), tensors[keys["in"]]
        with torch.inference_mode():
            if name.endswith("tempo_attns.0"):
                out = module(x, text[:1], frames)
            elif name.endswith("conv3ds.0"):
                out = module(x, frames)
            elif name.endswith("resnets.0"):
                out = module(x, torch.nn.functional.silu(tensors["modules.emb"]))
            elif name.endswith("attentions.0"):
                # The recording has one text per frame.
                each = [module(x, text[i : i + 1], frames)[i] for i in range(frames)]
                out = torch.stack(each)
            else:
                out = module(x)
        assert relative_error(out, tensors[keys["out"]]) < 1e-6, name


def test_full_size_keys_and_shapes(full_unet):
    with torch.device("meta"):
        unet = ConsistI2VUNet.from_config(full_unet.config)
    own = {key: list(tensor.shape) for key, tensor in unet.state_dict().items()}
    assert len(own) == 1397
    assert own == full_unet.keys
    assert sum(p.numel() for p in unet.parameters()) == 1_249_975_241


def test_gradients_reach_every_live_parameter(small_unet_config):
    unet = ConsistI2VUNet.from_config(small_unet_config)
    for name, parameter in unet.named_parameters():
        if name.endswith("alpha") or "frame_stride_embedding.linear_2" in name:
            torch.nn.init.constant_(parameter, 0.5)
    unet(**small_inputs()).square().mean().backward()
    for name, parameter in unet.named_parameters():
        assert parameter.requires_grad != is_dead(name), name
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name


def test_bf16_autocast(small_unet):
    with torch.inference_mode():
        expected = small_unet(**small_inputs())
        with torch.autocast("cpu", torch.bfloat16):
            out = small_unet(**small_inputs())
    assert 0 < relative_error(out.float(), expected) < 5e-2


def test_inference_before_training_does_no_harm(small_unet_config):
    """Cached tables made in inference mode would break the backward pass."""
    config = {**small_unet_config, "temp_pos_embedding": "sinusoidal", "n_frames": 5}
    inputs = small_inputs(sample=torch.randn(2, 4, 4, 8, 8))
    unet = ConsistI2VUNet.from_config(config)
    with torch.inference_mode():
        unet(**inputs)
    unet(**inputs).sum().backward()


def test_alpha_is_clamped_without_being_changed(small_unet):
    alpha = small_unet.mid_block.conv3ds[0].alpha
    outputs, gradients = [], []
    for value in (1.0, 1.3):
        with torch.no_grad():
            alpha.fill_(value)
        out = small_unet(**small_inputs())
        gradients.append(torch.autograd.grad(out.square().mean(), alpha)[0].item())
        outputs.append(out.detach())
        assert alpha.item() == pytest.approx(value)
    assert torch.equal(*outputs)
    assert gradients[0] == gradients[1] != 0
    small_unet.project_alphas()
    assert alpha.item() == 1.0
    with torch.no_grad():
        alpha.fill_(0.5)


def test_with_alphas_at_one_frames_are_independent(small_unet_config):
    """What training starts from: the image network, frame by frame."""
    unet = ConsistI2VUNet.from_config({**small_unet_config, "first_frame_condition_mode": "none"})
    inputs = small_inputs(sample=torch.randn(1, 4, 4, 8, 8), clips=1)
    del inputs["first_frame_latents"]
    inputs["encoder_hidden_states"] = inputs["encoder_hidden_states"][:1]
    with torch.inference_mode():
        forward = unet(**inputs)
        backward = unet(**{**inputs, "sample": inputs["sample"].flip(2)})
    torch.testing.assert_close(forward, backward.flip(2))


def test_steps_per_clip_equal_steps_per_frame(small_unet):
    """In float64, where nothing but a wrong row can be seen."""
    unet = copy.deepcopy(small_unet).double()
    inputs = small_inputs()
    for name in ("sample", "encoder_hidden_states", "first_frame_latents"):
        inputs[name] = inputs[name].double()
    steps, strides = torch.tensor([7, 900]), torch.tensor([1, 5])
    with torch.inference_mode():
        by_clip = unet(**{**inputs, "timestep": steps, "frame_stride": strides})
        each = {"timestep": steps, "frame_stride": strides}
        each = {name: values.repeat_interleave(4) for name, values in each.items()}
        by_frame = unet(**{**inputs, **each})
    torch.testing.assert_close(by_clip, by_frame, rtol=1e-9, atol=1e-9)


def test_sizes_that_do_not_halve(small_unet):
    inputs = small_inputs(
        sample=torch.randn(1, 4, 3, 7, 9), first_frame_latents=torch.randn(1, 4, 1, 7, 9), clips=1
    )
    with torch.inference_mode():
        assert small_unet(**inputs).shape == (1, 4, 3, 7, 9)


def test_conv2d_mode_replaces_the_first_frame(small_unet_config):
    config = {**small_unet_config, "first_frame_condition_mode": "conv2d"}
    unet = ConsistI2VUNet.from_config(config).eval()
    assert unet.down_blocks[1].first_frame_conv.weight.shape == (32, 4, 1, 1)
    with torch.inference_mode():
        one = unet(**small_inputs())
        other = unet(**small_inputs(first_frame_latents=torch.zeros(2, 4, 1, 8, 8)))
    assert relative_error(one, other) > 1e-3


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"sample": torch.zeros(2, 4, 7, 8, 8)}, "sample has 7 frames; n_frames=4"),
        ({"first_frame_latents": None}, "first_frame_latents has shape None"),
        ({"first_frame_latents": torch.zeros(2, 4, 1, 4, 4)}, r"needs \(2, 4, 1, 8, 8\)"),
        ({"frame_stride": None}, "frame_stride is None"),
        ({"timestep": torch.zeros(3)}, "timestep has 3 values; accepted: one, one per clip"),
        ({"encoder_hidden_states": torch.zeros(1, 6, 32)}, "1 texts for 2 clips"),
    ],
)
def test_wrong_inputs_are_named(small_unet, changed, message):
    with pytest.raises(ValueError, match=message):
        small_unet(**small_inputs(**changed))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"n_frame": 8}, "unknown key 'n_frame': did you mean 'n_frames'"),
        ({"act_fn": "gelu"}, "act_fn='gelu' is not implemented; accepted: 'silu'"),
        ({"first_frame_condition_mode": "cat"}, "did you mean 'concat'"),
        ({"block_out_channels": [32, 48]}, "48, which must be a multiple of 32"),
        ({"attention_head_dim": [2]}, "attention_head_dim has 1 entries"),
        ({"down_block_types": ["DownBlock2D", "AttnDownBlock2D"]}, "down_block_types"),
        ({"n_frames": 0}, "n_frames=0"),
    ],
)
def test_wrong_configurations_are_named(changed, message, small_unet_config):
    with pytest.raises(UserError, match=message):
        UNetConfig.from_dict({**small_unet_config, **changed})


def test_configuration_defaults():
    config = UNetConfig.from_dict({"_class_name": "anything", "attention_head_dim": 8})
    assert config.attention_head_dim == (8, 8, 8, 8)
    assert config.n_frames == 8
