"""Checkpoint folders: what loads, and the one line that says why another does not."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from i2vbench.errors import UserError
from i2vbench.models.consisti2v.checkpoint import (
    stored_parameters,
    weights_identity,
)
from i2vbench.models.consisti2v.networks import (
    count_parameters,
    is_dead,
    load_scheduler,
    load_text_encoder,
    load_tokenizer,
    load_unet,
    load_vae,
)
from i2vbench.models.consisti2v.pipeline import ConsistI2VPipeline

WEIGHTS = "diffusion_pytorch_model.safetensors"


def rewrite(folder, change):
    state = load_file(folder / WEIGHTS)
    change(state)
    save_file(state, folder / WEIGHTS)


def test_round_trip(checkpoint, small_unet):
    pipeline = ConsistI2VPipeline.from_pretrained(checkpoint)
    loaded = pipeline.unet.state_dict()
    for key, tensor in small_unet.state_dict().items():
        assert loaded[key].dtype == torch.float32
        assert is_dead(key) or torch.equal(loaded[key], tensor), key
    assert not pipeline.unet.training
    assert pipeline.vae_factor == 4
    assert pipeline.num_frames == 4
    assert pipeline.unet.mid_block.conv3ds[0].alpha.requires_grad


def test_dtype_and_overrides(checkpoint):
    pipeline = ConsistI2VPipeline.from_pretrained(
        checkpoint, dtype=torch.bfloat16, unet_overrides={"n_frames": 6}
    )
    assert {p.dtype for p in pipeline.unet.parameters()} == {torch.bfloat16}
    assert pipeline.num_frames == 6
    vae = load_vae(checkpoint / "vae", dtype=torch.bfloat16)
    assert {p.dtype for p in vae.parameters()} == {torch.bfloat16}
    assert load_vae(checkpoint / "vae").dtype == torch.float32


def test_published_video_arguments_fill_a_plain_configuration(checkpoint):
    path = checkpoint / "unet" / "config.json"
    config = json.loads(path.read_text())
    for key in ("first_frame_condition_mode", "temp_pos_embedding", "use_frame_stride_condition"):
        del config[key]
    path.write_text(json.dumps(config))
    loaded = load_unet(checkpoint / "unet").config
    assert loaded.first_frame_condition_mode == "concat"
    assert loaded.temp_pos_embedding == "rotary"


def test_missing_keys_are_named_with_the_nearest(checkpoint):
    def misspell(state):
        state["conv_in.bais"] = state.pop("conv_in.bias")
        state["far.away"] = torch.ones(1)

    rewrite(checkpoint / "unet", misspell)
    message = (
        r"unet lacks 'conv_in.bias'; nearest in the file: 'conv_in.bais'; weights and config.json"
    )
    with pytest.raises(UserError, match=message):
        load_unet(checkpoint / "unet")


def test_missing_keys_without_a_key_too_many(checkpoint):
    rewrite(checkpoint / "unet", lambda state: state.pop("conv_out.bias"))
    with pytest.raises(UserError, match=r"lacks 'conv_out.bias'; nearest in the file: 'conv_"):
        load_unet(checkpoint / "unet")


def test_extra_keys_are_named_with_the_nearest(checkpoint):
    rewrite(
        checkpoint / "unet",
        lambda state: state.update({"conv_in.biass": torch.ones(1), "zeta": torch.ones(1)}),
    )
    message = (
        r"unet has 'conv_in.biass' and 1 more that the network has not; "
        r"nearest in the network: 'conv_in.bias'; weights"
    )
    with pytest.raises(UserError, match=message):
        load_unet(checkpoint / "unet")


def test_an_empty_file_lacks_everything(checkpoint):
    rewrite(checkpoint / "unet", lambda state: state.clear())
    with pytest.raises(UserError, match=r"nearest in the file: \(no key at all\)"):
        load_unet(checkpoint / "unet")


def test_wrong_shapes_are_named(checkpoint):
    rewrite(checkpoint / "vae", lambda state: state.update({"quant_conv.bias": torch.ones(3)}))
    with pytest.raises(UserError, match=r"quant_conv.bias has shape \(3,\), config.json asks for"):
        load_vae(checkpoint / "vae")


def test_dead_parameters_may_be_absent(checkpoint):
    def drop(state):
        for key in [key for key in state if is_dead(key)]:
            del state[key]

    rewrite(checkpoint / "unet", drop)
    unet = load_unet(checkpoint / "unet")
    assert not any(parameter.is_meta for parameter in unet.parameters())


def test_an_image_model_is_taken_only_when_asked(checkpoint):
    temporal = ("conv3ds.", "tempo_attns.", "frame_stride_embedding.")

    def drop(state):
        for key in [key for key in state if any(part in key for part in temporal)]:
            del state[key]

    rewrite(checkpoint / "unet", drop)
    with pytest.raises(UserError, match=r"lacks 'down_blocks.0.conv3ds.0.alpha'"):
        load_unet(checkpoint / "unet")
    unet = load_unet(checkpoint / "unet", from_image_model=True)
    assert unet.mid_block.conv3ds[0].alpha.item() == 1.0


def test_old_vae_names(checkpoint):
    expected = load_vae(checkpoint / "vae").state_dict()
    new_to_old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def rename(state):
        for key in [key for key in state if ".attentions." in key]:
            tensor = state.pop(key)
            for new, old in new_to_old.items():
                if f".{new}." in key:
                    key = key.replace(new, old)
                    tensor = tensor[..., None, None].clone() if tensor.ndim == 2 else tensor
            state[key] = tensor

    rewrite(checkpoint / "vae", rename)
    loaded = load_vae(checkpoint / "vae").state_dict()
    assert all(torch.equal(loaded[key], expected[key]) for key in expected)


def test_text_encoder_of_other_releases(checkpoint):
    folder = checkpoint / "text_encoder"
    expected = load_text_encoder(folder).state_dict()
    state = load_file(folder / "model.safetensors")
    assert all(key.startswith("text_model.") for key in state)
    state["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    save_file(state, folder / "model.safetensors")
    with_ids = load_text_encoder(folder).state_dict()
    bare = {key.removeprefix("text_model."): tensor for key, tensor in state.items()}
    save_file(bare, folder / "model.safetensors")
    without_prefix = load_text_encoder(folder).state_dict()
    for key, tensor in expected.items():
        assert torch.equal(with_ids[key], tensor)
        assert torch.equal(without_prefix[key], tensor)


def test_pickled_files_are_read_only_when_asked(checkpoint):
    folder = checkpoint / "unet"
    torch.save(load_file(folder / WEIGHTS), folder / "diffusion_pytorch_model.bin")
    (folder / WEIGHTS).unlink()
    with pytest.raises(UserError, match=r"no weights; .*bin files only with allow_pickle"):
        load_unet(folder)
    assert load_unet(folder, allow_pickle=True).config.n_frames == 4
    before = weights_identity(checkpoint)
    torch.save([1], folder / "diffusion_pytorch_model.bin")
    accepted = r"holds no tensors by name.*; accepted: a dictionary of tensors"
    with pytest.raises(UserError, match=accepted):
        load_unet(folder, allow_pickle=True)
    assert weights_identity(checkpoint) != before
    (folder / "diffusion_pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(UserError, match="cannot be read"):
        load_unet(folder, allow_pickle=True)


@pytest.mark.parametrize(
    "part", ["unet/config.json", "vae/config.json", "tokenizer/vocab.json", "scheduler"]
)
def test_missing_files_are_named(checkpoint, part):
    path = checkpoint / part
    if path.is_dir():
        path = path / "scheduler_config.json"
    path.unlink()
    with pytest.raises(UserError, match=f"{path.name} does not exist; a checkpoint has"):
        ConsistI2VPipeline.from_pretrained(checkpoint)


def test_foreign_schedules_keep_what_ddim_knows(checkpoint):
    path = checkpoint / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps({"beta_schedule": "scaled_linear", "skip_prk_steps": True}))
    scheduler = load_scheduler(checkpoint / "scheduler")
    assert scheduler.config.beta_schedule == "scaled_linear"
    assert scheduler.config.steps_offset == 1
    path.write_text("{")
    with pytest.raises(UserError, match=r"scheduler_config.json is not JSON"):
        load_scheduler(checkpoint / "scheduler")


def test_identity_is_of_the_content(checkpoint):
    before = weights_identity(checkpoint)
    (checkpoint / "README.md").write_text("a word")
    assert weights_identity(checkpoint) == before
    rewrite(checkpoint / "unet", lambda state: state["conv_in.bias"].add_(1))
    assert weights_identity(checkpoint) != before


def test_parameters_are_counted_without_weights(checkpoint):
    pipeline = ConsistI2VPipeline.from_pretrained(checkpoint)
    networks = (pipeline.unet, pipeline.vae, pipeline.text_encoder)
    counted = sum(p.numel() for network in networks for p in network.parameters())
    assert stored_parameters(checkpoint) == counted
    for path in checkpoint.rglob("*.safetensors"):
        path.unlink()
    assert stored_parameters(checkpoint) is None
    assert count_parameters(checkpoint) == counted


def test_a_tokenizer_needs_its_files(tmp_path):
    with pytest.raises(UserError, match=r"vocab.json does not exist"):
        load_tokenizer(tmp_path)


def test_a_tokenizer_of_one_file_loads(checkpoint):
    folder = checkpoint / "tokenizer"
    text = "a sailing boat, at 3 o'clock"
    expected = load_tokenizer(folder)
    expected.save_pretrained(folder)
    if not (folder / "tokenizer.json").is_file():
        pytest.skip("this release of transformers writes vocab.json")
    for name in ("vocab.json", "merges.txt"):
        (folder / name).unlink()
    assert load_tokenizer(folder)(text).input_ids == expected(text).input_ids
