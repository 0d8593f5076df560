"""The layer that reads flow out of a UNet, and what it teaches the layers before it."""

import pytest
import torch

from i2vbench.models.consisti2v.training.data import SceneClips
from i2vbench.models.consisti2v.training.diffusion import NoiseSchedule
from i2vbench.models.consisti2v.training.flow import FlowHead
from i2vbench.models.consisti2v.training.latents import LatentBatch
from i2vbench.models.consisti2v.training.tiny_recipe import UNET_CONFIG, UNetTraining
from i2vbench.models.consisti2v.training.unet import diffusion_loss
from i2vbench.models.consisti2v.unet import ConsistI2VUNet
from i2vbench.suites.playground.flow import backward_flow
from i2vbench.suites.playground.scenes import scene_from_seed

FIRST_SEED = 2_000_000


@pytest.fixture
def unet():
    torch.manual_seed(0)
    small = {
        "block_out_channels": [32, 32, 32],
        "attention_head_dim": [1, 1, 1],
        "cross_attention_dim": 8,
        "n_frames": 4,
        "in_channels": 2,
        "out_channels": 2,
    }
    return ConsistI2VUNet.from_config({**UNET_CONFIG, **small})


def _called(unet, num_clips):
    generator = torch.Generator().manual_seed(1)
    unet(
        torch.randn(num_clips, 2, 3, 8, 8, generator=generator),
        torch.full((num_clips,), 999),
        torch.randn(num_clips, 5, 8, generator=generator),
        first_frame_latents=torch.randn(num_clips, 2, 1, 8, 8, generator=generator),
        frame_stride=torch.full((num_clips,), 3),
    )


def test_it_teaches_all_that_comes_before_the_last_block(unet):
    head = FlowHead(unet)
    torch.nn.init.ones_(head.read.weight)
    _called(unet, 2)
    head.losses_per_clip(torch.rand(2, 4, 2, 8, 8)).sum().backward()
    assert unet.conv_in.weight.grad.abs().max() > 0
    assert unet.up_blocks[1].attentions[0].norm.weight.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in unet.up_blocks[2].parameters())


def test_clips_keep_their_order_and_the_first_frame_does_not_count(unet):
    head = FlowHead(unet)  # reads 0 before it has learned
    flow_BT2HW = torch.zeros(3, 4, 2, 8, 8)
    flow_BT2HW[:, 0] = 9.0
    flow_BT2HW[1, 1:] = 0.07
    _called(unet, 3)
    assert head.losses_per_clip(flow_BT2HW).tolist() == pytest.approx([0.0, 0.5, 0.0])


def test_clips_without_caption_or_first_frame_are_not_asked(unet):
    head = FlowHead(unet)
    batch = LatentBatch(torch.zeros(64, 2, 4, 8, 8), torch.zeros(64, 5, 8), torch.full((64,), 3))
    options = UNetTraining(text_dropout=0.3, image_dropout=0.3, flow_weight=2.0)

    def losses(flow):
        schedule, generator = NoiseSchedule(), torch.Generator().manual_seed(0)
        empty = torch.zeros(5, 8)
        return diffusion_loss(unet, batch, empty, schedule, options, generator, flow=flow)

    with torch.no_grad():
        # Untrained it reads 0: off by one typical flow everywhere.
        added = losses((head, torch.full((64, 4, 2, 8, 8), 0.07))) - losses(None)
    asked = added > 0.5
    assert torch.allclose(added[asked], torch.tensor(2.0 * 0.5), atol=1e-4)
    assert added[~asked].abs().max().item() < 1e-4
    assert 0.3 < asked.float().mean().item() < 0.7, "0.7 * 0.7 of them"


def test_the_network_does_not_keep_what_it_was_read_from(unet):
    head = FlowHead(unet)
    head.leave()
    _called(unet, 1)
    with pytest.raises(AssertionError, match="has not been called"):
        head.losses_per_clip(torch.zeros(1, 4, 2, 8, 8))


def test_it_learns_the_flow_of_two_clips(unet):
    head = FlowHead(unet)
    clips = SceneClips(4, 32, first_seed=FIRST_SEED, strides=(9, 9))
    flow_BT2HW = torch.stack([clips.flow(number, 8) for number in range(2)])
    optimizer = torch.optim.AdamW([*unet.parameters(), *head.parameters()], lr=2e-3)
    losses = []
    for _ in range(40):
        _called(unet, 2)
        loss = head.losses_per_clip(flow_BT2HW).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_the_flow_is_of_the_clip_with_its_stride():
    clips = SceneClips(4, 32, first_seed=FIRST_SEED, strides=(3, 15), stride_step=1.5)
    for number in range(4):
        _, _, stride = clips[number]
        expected = backward_flow(scene_from_seed(FIRST_SEED + number), 4, 8, 8, stride)
        flow = clips.flow(number, 8)
        assert flow.shape == (4, 2, 8, 8)
        assert torch.equal(flow, torch.from_numpy(expected).permute(0, 3, 1, 2))
