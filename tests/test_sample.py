from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from i2vbench.clip import Geometry
from i2vbench.errors import UserError
from i2vbench.model import Request
from i2vbench.sample import Sample, Suite, check_id

GEOMETRY = Geometry(num_frames=4, height=8, width=8, fps=8)


def suite(*ids: str) -> Suite:
    samples = [Sample(id=sample_id) for sample_id in ids]
    return Suite(name="s", version="1", samples=samples, content_sha256="0")


@pytest.mark.parametrize("sample_id", ["a", "7", "Scene_01-b.2", "x" * 120])
def test_safe_ids_are_accepted(sample_id: str) -> None:
    assert Sample(id=sample_id).id == sample_id


@pytest.mark.parametrize(
    "sample_id",
    ["", ".a", "-a", "_a", "../a", "a/b", "a\\b", "a b", "a..b", "a\n", "ä", "x" * 121, "a\x00"],
)
def test_ids_that_are_no_file_names_are_refused(sample_id: str) -> None:
    with pytest.raises(UserError) as caught:
        Sample(id=sample_id)
    assert repr(sample_id) in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=130))
def test_an_accepted_id_is_one_plain_path_part(sample_id: str) -> None:
    try:
        check_id(sample_id)
    except UserError:
        return
    assert sample_id.isascii()
    assert not set(sample_id) & set('/\\:*?"<>| \n')
    assert sample_id not in (".", "..")


def test_a_suite_iterates_in_order() -> None:
    made = suite("b", "a", "c")
    assert [sample.id for sample in made] == ["b", "a", "c"]
    assert len(made) == 3


def test_ids_that_share_a_file_on_some_systems_are_refused() -> None:
    with pytest.raises(UserError, match="'A' stands twice"):
        suite("a", "b", "A")


def test_noise_depends_on_seed_sample_and_take_alone() -> None:
    def seed(sample_id: str = "a", take: int = 0, run_seed: int = 0, prompt: str = "") -> int:
        sample = Sample(id=sample_id, prompt=prompt)
        return Request(sample=sample, take=take, seed=run_seed, geometry=GEOMETRY).noise_seed

    assert seed() == seed(prompt="other")
    assert len({seed(), seed("b"), seed(take=1), seed(run_seed=1)}) == 4
    # "a", take 11 and "a1", take 1 must not meet by gluing.
    assert seed("a", 11) != seed("a1", 1)
    assert 0 <= seed() < 2**63
    # Published clips depend on it.
    assert seed("scene-01", 2, 3) == 5785651179470454312


def test_each_generator_starts_anew() -> None:
    torch = pytest.importorskip("torch")
    request = Request(sample=Sample(id="a"), take=0, seed=0, geometry=GEOMETRY)
    first, second = (torch.randn(8, generator=request.generator()) for _ in range(2))
    assert torch.equal(first, second)
