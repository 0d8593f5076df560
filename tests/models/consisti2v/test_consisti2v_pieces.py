"""A few images at a time give what all at once give."""

import pytest
import torch

from i2vbench.models.consisti2v import pieces
from i2vbench.models.consisti2v.pieces import images_at_a_time
from i2vbench.models.consisti2v.spatial import ResnetBlock


@pytest.mark.parametrize(
    ("bytes_per_piece", "sizes_seen"),
    # 3 images of 32 channels at 8x8, of which 64 channels need the double, and all at 4x4.
    [(1, {1}), (3 * 32 * 8 * 8 * 4, {1, 2, 3, 6, 8})],
)
def test_the_network_does_not_depend_on_pieces(
    monkeypatch, small_unet, bytes_per_piece, sizes_seen
):
    torch.manual_seed(0)
    sample, first, text = (
        torch.randn(2, 4, 3, 8, 8),
        torch.randn(2, 4, 1, 8, 8),
        torch.randn(2, 6, 32),
    )
    sizes, run = [], ResnetBlock._run
    monkeypatch.setattr(
        ResnetBlock, "_run", lambda self, x, *rest: sizes.append(len(x)) or run(self, x, *rest)
    )

    def predict():
        return small_unet(sample, 500.0, text, first_frame_latents=first, frame_stride=3.0)

    with torch.no_grad():
        monkeypatch.setattr(pieces, "_PIECE_BYTES", 2**60)
        expected = predict()
        assert set(sizes) == {8}
        sizes.clear()
        monkeypatch.setattr(pieces, "_PIECE_BYTES", bytes_per_piece)
        torch.testing.assert_close(predict(), expected, rtol=1e-4, atol=1e-5)
    assert set(sizes) == sizes_seen


def test_training_takes_all_images():
    """Pieces of a graph are all kept: they would save nothing."""
    images = torch.zeros(9, 8, 64, 64)
    assert images_at_a_time(images, 2**20) == 9
    with torch.no_grad():
        assert images_at_a_time(images, 2**20) == 1
        assert images_at_a_time(images, 2**8) == 4
        assert images_at_a_time(images, 8) == 9
        assert images_at_a_time(images.to("meta"), 2**20) == 9
