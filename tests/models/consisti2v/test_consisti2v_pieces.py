"""A few images at a time give what all at once give."""

import pytest
import torch

from i2vbench.models.consisti2v import pieces
from i2vbench.models.consisti2v.convolution import channels_last
from i2vbench.models.consisti2v.pieces import images_at_a_time
from i2vbench.models.consisti2v.spatial import ResnetBlock, SpatialBlock
from i2vbench.models.consisti2v.temporal import TemporalBlock


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


@pytest.mark.parametrize("tokens", [1, 60, 130, 300])
@pytest.mark.parametrize("batch", [1, 2])
def test_transformers_do_not_depend_on_pieces(monkeypatch, small_unet, batch, tokens):
    """Pieces that end within a clip need its frame 0, which they do not hold; odd sizes."""
    torch.manual_seed(0)
    num_frames, block = 4, small_unet.down_blocks[1]
    layers = [block.attentions[0], block.tempo_attns[0], block.conv3ds[0]]
    x = channels_last(torch.randn(batch * num_frames, 32, 7, 9))
    text = torch.randn(batch, 6, 32)
    parts = []
    for kind in (SpatialBlock, TemporalBlock):
        run = kind.forward

        def forward(self, x, *rest, run=run):
            parts.append(x[..., 0].numel())
            return run(self, x, *rest)

        monkeypatch.setattr(kind, "forward", forward)

    def results():
        rest = [(text, num_frames)] * 2 + [(num_frames,)]
        return [layer(x, *given) for layer, given in zip(layers, rest, strict=True)]

    with torch.no_grad():
        monkeypatch.setattr(pieces, "_PIECE_TOKENS", 2**60)
        expected = results()
        assert parts == [batch * num_frames * 63] * 2
        parts.clear()
        monkeypatch.setattr(pieces, "_PIECE_TOKENS", tokens)
        monkeypatch.setattr(pieces, "_PIECE_BYTES", 1)
        torch.testing.assert_close(results(), expected, rtol=1e-4, atol=1e-5)
    # A whole image, and a whole track of frames, are the least.
    assert max(parts) <= max(tokens, 63)
    assert sum(parts) == 2 * batch * num_frames * 63


def test_training_takes_all_images():
    """Pieces of a graph are all kept: they would save nothing."""
    images = torch.zeros(9, 8, 64, 64)
    assert images_at_a_time(images, 2**20) == 9
    with torch.no_grad():
        assert images_at_a_time(images, 2**20) == 1
        assert images_at_a_time(images, 2**8) == 4
        assert images_at_a_time(images, 8) == 9
        assert images_at_a_time(images.to("meta"), 2**20) == 9
