"""Initial noise by hand, from draws that one knows."""

import math

import pytest
import torch

from i2vbench.models.consisti2v.noise import ParityDraws, SampleDraws, initial_noise

SHAPE = (1, 1, 4, 1, 1)


class Given:
    """Hands out what the test says, and remembers what it was asked for."""

    def __init__(self, *draws):
        self.draws, self.shapes = [torch.tensor(draw) for draw in draws], []

    def noise(self, shape):
        self.shapes.append(tuple(shape))
        return self.draws[len(self.shapes) - 1].view(tuple(shape))


def made(method, alpha, draws):
    return initial_noise(method, alpha, SHAPE, draws).flatten()


# With alpha = 3/4 the shared part weighs 3/5 and a frame's own 4/5.
ALPHA = 0.75


def test_progressive_noise_follows_from_the_frame_before():
    draws = Given([10.0, 99.0, 99.0, 99.0], [99.0, 5.0, -10.0, 0.0])
    # 0.6 * 10 + 0.8 * 5, then 0.6 * 10 - 0.8 * 10, then 0.6 * -2.
    torch.testing.assert_close(
        made("pyoco_progressive", ALPHA, draws), torch.tensor([10.0, 10.0, -2.0, -1.2])
    )
    assert draws.shapes == [SHAPE, SHAPE]


def test_mixed_noise_shares_one_picture():
    draws = Given([10.0], [5.0, -5.0, 0.0, 1.0])
    torch.testing.assert_close(
        made("pyoco_mixed", ALPHA, draws), torch.tensor([10.0, 2.0, 6.0, 6.8])
    )
    assert draws.shapes == [(1, 1, 1, 1, 1), SHAPE]


def test_vanilla_noise_is_the_draw():
    draws = Given([1.0, 2.0, 3.0, 4.0])
    assert made("vanilla", ALPHA, draws).tolist() == [1.0, 2.0, 3.0, 4.0]
    assert draws.shapes == [SHAPE]


@pytest.mark.parametrize("method", ["pyoco_mixed", "pyoco_progressive"])
def test_an_alpha_of_zero_shares_nothing(method):
    first = [9.0] if method == "pyoco_mixed" else [9.0] * 4
    values = made(method, 0.0, Given(first, [1.0, 2.0, 3.0, 4.0])).tolist()
    assert values == ([1.0, 2.0, 3.0, 4.0] if method == "pyoco_mixed" else [9.0, 2.0, 3.0, 4.0])


@pytest.mark.parametrize(
    ("method", "expected"), [("pyoco_mixed", 1 / 2), ("pyoco_progressive", math.sqrt(1 / 2))]
)
def test_neighbours_correlate_as_stated(method, expected):
    draws = SampleDraws([torch.Generator().manual_seed(3)])
    noise = initial_noise(method, 1.0, (1, 4, 6, 64, 64), draws)
    now, before = noise[:, :, 1:].flatten(), noise[:, :, :-1].flatten()
    assert (now * before).mean().item() == pytest.approx(expected, abs=0.02)
    assert noise.std(dim=(0, 1, 3, 4)).tolist() == pytest.approx([1.0] * 6, abs=0.02)


def test_the_posterior_gives_each_clip_an_equal_share_in_order():
    """Two clips of three pictures each, as a camera motion asks."""
    seeds = (5, 6)
    draws = SampleDraws([torch.Generator().manual_seed(seed) for seed in seeds])
    rows = draws.posterior((6, 2, 2))
    for seed, part in zip(seeds, rows.split(3), strict=True):
        assert torch.equal(
            part, torch.randn(3, 2, 2, generator=torch.Generator().manual_seed(seed))
        )


def test_generators_are_those_that_were_given():
    generators = [torch.Generator(), torch.Generator()]
    assert SampleDraws(generators).generators == generators
    assert ParityDraws(generators[0]).generators is generators[0]
    assert ParityDraws().generators is None


def test_parity_takes_the_posterior_from_the_global_generator():
    with torch.random.fork_rng():
        torch.manual_seed(7)
        draws = ParityDraws(torch.Generator().manual_seed(8))
        posterior, noise = draws.posterior((2, 3)), draws.noise((2, 3))
        torch.manual_seed(7)
        assert torch.equal(posterior, torch.randn(2, 3))
        assert torch.equal(noise, torch.randn(2, 3, generator=torch.Generator().manual_seed(8)))
        torch.manual_seed(7)
        first, second = ParityDraws().noise((2, 3)), ParityDraws(device="meta").noise((2, 3))
        assert torch.equal(first, posterior)
        assert second.is_meta
        assert ParityDraws(torch.Generator(), device="meta").noise((2, 3)).device.type == "cpu"
        assert ParityDraws(torch.Generator(), device="meta").posterior((2, 3)).is_meta
