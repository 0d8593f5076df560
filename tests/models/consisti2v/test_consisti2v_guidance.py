"""Guidance by hand: rows, sums and the rescaling, on numbers that one can check in the head."""

import pytest
import torch

from i2vbench.models.consisti2v.guidance import Guidance, rescale_noise


def guidance(text, image=1.0, rescale=0.0):
    return Guidance(text_scale=text, image_scale=image, rescale=rescale)


def row(*values):
    """(1, 1, T, 1, 1)."""
    return torch.tensor(values)[None, None, :, None, None]


@pytest.mark.parametrize(
    ("text", "image", "mode", "rows"),
    [
        (1.0, 1.0, "none", 1),
        (0.0, 0.0, "none", 1),
        (1.01, 1.0, "text", 2),
        (1.0, 1.01, "both", 3),
        (7.5, 2.0, "both", 3),
        (2.0, 2.0, "joint", 2),
        (0.0, 2.0, "both", 3),
    ],
)
def test_rows_follow_from_the_scales(text, image, mode, rows):
    made = guidance(text, image)
    assert (made.mode, made.num_rows, made.on_image) == (mode, rows, image > 1)
    negative, positive = torch.full((2, 1, 1), -1.0), torch.full((2, 1, 1), 1.0)
    texts = made.text_rows(positive, negative).flatten().tolist()
    assert texts == [-1.0] * 2 * (rows - 1) + [1.0] * 2
    clean, noisy = torch.zeros(2, 1, 1, 1, 1), torch.ones(2, 1, 1, 1, 1)
    frames = made.first_frame_rows(clean, noisy).flatten().tolist()
    assert frames == ([1.0] if image > 1 else [0.0]) * 2 + [0.0] * 2 * (rows - 1)


def test_the_guided_sum():
    plain, image, full = row(1.0, 2.0), row(3.0, 1.0), row(4.0, 6.0)
    assert torch.equal(guidance(1.0).combine(full), full)
    # 1 + 3 (4 - 1), 2 + 3 (6 - 2)
    assert torch.equal(guidance(3.0).combine(torch.cat([plain, full])), row(10.0, 14.0))
    assert torch.equal(guidance(3.0, 3.0).combine(torch.cat([plain, full])), row(10.0, 14.0))
    # 1 + 2 (3 - 1) + 5 (4 - 3), 2 + 2 (1 - 2) + 5 (6 - 1)
    three = torch.cat([plain, image, full])
    assert torch.equal(guidance(5.0, 2.0).combine(three), row(10.0, 25.0))


def test_many_clips_are_guided_apart():
    """Five clips: rows are stacked kind by kind."""
    plain, image, full = (torch.arange(5.0).view(5, 1, 1, 1, 1) * n for n in (1, 2, 4))
    two, three = torch.cat([plain, full]), torch.cat([plain, image, full])
    assert torch.equal(guidance(3.0).combine(two).flatten(), torch.arange(5.0) * 10)
    assert torch.equal(guidance(3.0, 2.0).combine(three).flatten(), torch.arange(5.0) * 9)


def test_rescaling_takes_the_deviation_of_the_conditioned_row():
    """Of (-8, 0, 8) the deviation is 8, of (1, 3, 5) it is 2: the ratio is a quarter."""
    guided, full = row(-8.0, 0.0, 8.0), row(1.0, 3.0, 5.0)
    assert torch.equal(rescale_noise(guided, full, 1.0), row(-2.0, 0.0, 2.0))
    assert torch.equal(rescale_noise(guided, full, 0.0), guided)
    # 0.75 of the way: 0.75 * 0.25 + 0.25 = 0.4375
    assert torch.equal(rescale_noise(guided, full, 0.75), row(-3.5, 0.0, 3.5))


def test_rescaling_treats_each_clip_apart():
    guided = torch.cat([row(-8.0, 0.0, 8.0), row(-1.0, 0.0, 1.0)])
    full = torch.cat([row(1.0, 3.0, 5.0), row(10.0, 13.0, 16.0)])
    expected = torch.cat([row(-2.0, 0.0, 2.0), row(-3.0, 0.0, 3.0)])
    assert torch.equal(rescale_noise(guided, full, 1.0), expected)
    # Over channels, frames and pixels of a clip together: the deviation of 0, 2, 4 and 6 is that
    # of 0, 1, 2 and 3 twice.
    both = torch.tensor([0.0, 2.0, 4.0, 6.0]).view(1, 2, 2, 1, 1)
    torch.testing.assert_close(rescale_noise(both, both / 2, 1.0), both / 2)


def test_guidance_rescales_to_its_last_row():
    plain, full = row(0.0, 0.0, 0.0), row(-2.0, 0.0, 2.0)
    two, three = torch.cat([plain, full]), torch.cat([plain, plain, full])
    # Guided: four times the row; half of the way back to it: 2.5 times.
    for made, rows in ((guidance(4.0, 1.0, 0.5), two), (guidance(4.0, 2.0, 0.5), three)):
        torch.testing.assert_close(made.combine(rows), row(-5.0, 0.0, 5.0))
    assert torch.equal(guidance(1.0, 1.0, 0.5).combine(full), full)


@pytest.mark.parametrize("strength", [0.3, 1.0])
def test_rescaling_is_that_of_diffusers(strength):
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg

    random = torch.Generator().manual_seed(0)
    guided, full = (torch.randn(2, 4, 3, 5, 5, generator=random) for _ in range(2))
    expected = rescale_noise_cfg(guided * 3, full, guidance_rescale=strength)
    torch.testing.assert_close(rescale_noise(guided * 3, full, strength), expected)
