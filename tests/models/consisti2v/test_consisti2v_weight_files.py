"""Which files are read and downloaded: parts, variants, pickles, the Hugging Face cache."""

import json

import pytest
import torch
from huggingface_hub import constants
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from safetensors.torch import load_file, save_file

from i2vbench.errors import MissingWeightsError, UserError
from i2vbench.models.consisti2v import checkpoint as checkpoint_module
from i2vbench.models.consisti2v.checkpoint import (
    checkpoint_folder,
    is_cached,
    stored_parameters,
    weight_files,
    weights_identity,
)
from i2vbench.models.consisti2v.networks import (
    load_unet,
)

STEM = "diffusion_pytorch_model"
WEIGHTS = f"{STEM}.safetensors"


def split(folder, index_name, names=("a.safetensors", "b.safetensors")):
    """Two parts and their index in place of the one file."""
    state = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    keys = sorted(state)
    weight_map = {}
    for name, part in zip(names, (keys[:50], keys[50:]), strict=True):
        save_file({key: state[key] for key in part}, folder / name)
        weight_map.update(dict.fromkeys(part, name))
    (folder / index_name).write_text(json.dumps({"weight_map": weight_map}))
    return weight_map


INDEX = f"{STEM}.safetensors.index.json"


@pytest.mark.parametrize(
    ("index", "parts"),
    [
        (INDEX, ("a.safetensors", "b.safetensors")),
        (
            f"{STEM}.safetensors.index.fp16.json",
            (f"{STEM}-00001-of-00002.fp16.safetensors", f"{STEM}-00002-of-00002.fp16.safetensors"),
        ),
        (
            f"{STEM}.fp16.safetensors.index.json",
            (f"{STEM}.fp16-00001-of-00002.safetensors", f"{STEM}.fp16-00002-of-00002.safetensors"),
        ),
    ],
)
def test_weights_in_parts(checkpoint, index, parts):
    folder = checkpoint / "unet"
    counted = stored_parameters(checkpoint)
    expected = load_unet(folder).state_dict()
    split(folder, index, parts)
    loaded = load_unet(folder).state_dict()
    assert all(torch.equal(loaded[key], expected[key]) for key in expected)
    assert stored_parameters(checkpoint) == counted
    (folder / parts[1]).unlink()
    with pytest.raises(UserError, match=f"{parts[1]} does not exist, but {index} names it"):
        load_unet(folder)
    assert stored_parameters(checkpoint) is None


@pytest.mark.parametrize(
    "name",
    [
        "../b.safetensors",
        "/b.safetensors",
        "x/b.safetensors",
        "..\\b.safetensors",
        "b.bin",
        "..",
        3,
    ],
)
def test_an_index_names_files_of_its_folder_only(checkpoint, name):
    folder = checkpoint / "unet"
    weight_map = split(folder, INDEX)
    # There to be read, if the name were followed.
    (folder / "x").mkdir()
    for place in (checkpoint, folder / "x"):
        (place / "b.safetensors").write_bytes((folder / "b.safetensors").read_bytes())
    (folder / INDEX).write_text(json.dumps({"weight_map": dict.fromkeys(weight_map, name)}))
    with pytest.raises(UserError, match=r"accepted: the plain name of a .safetensors file"):
        load_unet(folder)


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"weight_map": 3}', '{"weight_map": {"a": []}}']
)
def test_an_index_that_is_none_is_named(checkpoint, text):
    split(checkpoint / "unet", INDEX)
    (checkpoint / "unet" / INDEX).write_text(text)
    with pytest.raises(UserError, match=f"{INDEX} cannot be read") as caught:
        load_unet(checkpoint / "unet")
    assert "\n" not in str(caught.value)


def test_a_tensor_in_two_parts_is_refused(checkpoint):
    folder = checkpoint / "unet"
    split(folder, INDEX)
    state = load_file(folder / "b.safetensors")
    state["conv_in.bias"] = torch.ones(32)
    save_file(state, folder / "b.safetensors")
    with pytest.raises(UserError, match=r"b.safetensors holds 'conv_in.bias', and so does a.safe"):
        load_unet(folder)


def test_half_precision_variants_are_read_where_there_is_nothing_else(checkpoint):
    folder = checkpoint / "unet"
    half = folder / f"{STEM}.fp16.safetensors"
    counted = stored_parameters(checkpoint)
    half.write_bytes((folder / WEIGHTS).read_bytes())
    assert weight_files(folder) == [folder / WEIGHTS]
    assert stored_parameters(checkpoint) == counted
    expected = load_unet(folder).state_dict()
    split(folder, INDEX)
    assert weight_files(folder) == [folder / "a.safetensors", folder / "b.safetensors"]
    (folder / INDEX).unlink()
    assert weight_files(folder) == [half]
    loaded = load_unet(folder).state_dict()
    assert all(torch.equal(loaded[key], expected[key]) for key in expected)
    assert {tensor.dtype for tensor in loaded.values()} == {torch.float32}


def test_names_that_are_no_checkpoint():
    with pytest.raises(UserError, match=r"checkpoint './nowhere' is no folder; give a folder with"):
        checkpoint_folder("./nowhere")
    with pytest.raises(MissingWeightsError, match="'nobody/nothing' is neither a folder nor "):
        checkpoint_folder("nobody/nothing", local_files_only=True)
    with pytest.raises(UserError, match=r"checkpoint 'a/..' is no Hugging Face id"):
        checkpoint_folder("a/..")


def test_a_folder_has_no_revision(checkpoint):
    with pytest.raises(UserError, match=r"revision='v1' with the folder .* leave it out"):
        checkpoint_folder(str(checkpoint), revision="v1")


COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """A repository ``some/model``: what is there, what was asked for, a cache on disk."""

    def __init__(self, content, cache):
        self.content = content
        self.folder = cache / "models--some--model" / "snapshots" / COMMIT
        self.asked = []
        self.online = True

    def take(self, name):
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((self.content / name).read_bytes())

    def snapshot_download(self, repository, *, revision, local_files_only, allow_patterns):
        assert repository == "some/model"
        assert revision in (None, "main", COMMIT)
        if self.online and not local_files_only:
            for path in self.content.rglob("*"):
                name = path.relative_to(self.content)
                if any(name.match(pattern) for pattern in allow_patterns) and path.is_file():
                    self.take(name)
        if not self.folder.is_dir():
            raise LocalEntryNotFoundError("not cached")
        return str(self.folder)

    def hf_hub_download(self, repository, name, *, revision, local_files_only):
        assert (repository, revision) == ("some/model", COMMIT)
        if local_files_only or not self.online:
            raise LocalEntryNotFoundError("no network")
        self.asked.append(name)
        if not (self.content / name).is_file():
            raise EntryNotFoundError(name)
        self.take(name)


@pytest.fixture
def hub(checkpoint, tmp_path, monkeypatch):
    hub = Hub(checkpoint, tmp_path / "cache")
    for name in ("snapshot_download", "hf_hub_download"):
        monkeypatch.setattr(checkpoint_module, name, getattr(hub, name))
    return hub


def stored_names(folder):
    names = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    return {name for name in names if not name.endswith((".json", ".txt"))}


WANTED = {f"unet/{WEIGHTS}", f"vae/{WEIGHTS}", "text_encoder/model.safetensors"}


def test_of_a_repository_only_what_is_read_is_downloaded(hub):
    for name in (f"{STEM}.fp16.safetensors", f"{STEM}.bin", f"{STEM}.non_ema.safetensors"):
        (hub.content / "unet" / name).write_bytes(b"never read")
    (hub.content / "pickle.bin").write_bytes(b"never read")
    folder = checkpoint_folder("some/model", without_weights=True)
    assert stored_names(folder) == set()
    assert not is_cached("some/model")
    assert checkpoint_folder("some/model", allow_pickle=True) == folder
    assert stored_names(folder) == WANTED
    assert is_cached("some/model")
    assert set(hub.asked) == WANTED
    checkpoint_folder("some/model", revision=COMMIT, local_files_only=True)
    assert len(hub.asked) == len(WANTED)
    assert load_unet(folder / "unet").config.n_frames == 4


def test_parts_of_a_repository_are_downloaded(hub):
    split(hub.content / "unet", INDEX)
    (hub.content / "unet" / f"{STEM}.fp16.safetensors").write_bytes(b"never read")
    checkpoint_folder("some/model", without_weights=True)
    # The index is a configuration file by its name; it alone is no weights.
    assert (hub.folder / "unet" / INDEX).is_file()
    assert not is_cached("some/model")
    assert stored_parameters(hub.folder) is None
    folder = checkpoint_folder("some/model")
    parts = {"unet/a.safetensors", "unet/b.safetensors"}
    assert stored_names(folder) == WANTED - {f"unet/{WEIGHTS}"} | parts


def test_pickled_files_of_a_repository_are_downloaded_only_when_asked(hub):
    (hub.content / "unet" / WEIGHTS).rename(hub.content / "unet" / f"{STEM}.bin")
    with pytest.raises(UserError, match=r"unet has no weights; .* with allow_pickle"):
        checkpoint_folder("some/model")
    assert stored_names(hub.folder) == set()
    folder = checkpoint_folder("some/model", allow_pickle=True)
    assert f"unet/{STEM}.bin" in stored_names(folder)


def test_an_incomplete_cache_is_missing_weights(hub):
    checkpoint_folder("some/model", without_weights=True)
    message = r"'some/model' is neither a folder nor complete .* \(no network\)"
    with pytest.raises(MissingWeightsError, match=message):
        checkpoint_folder("some/model", local_files_only=True)
    hub.online = False
    with pytest.raises(MissingWeightsError, match=message):
        checkpoint_folder("some/model")
    assert checkpoint_folder("some/model", without_weights=True) == hub.folder


def test_a_variant_in_the_cache_serves_without_a_network(hub):
    checkpoint_folder("some/model")
    weights = hub.folder / "unet" / WEIGHTS
    weights.rename(hub.folder / "unet" / f"{STEM}.fp16.safetensors")
    assert checkpoint_folder("some/model", local_files_only=True) == hub.folder
    assert not weights.exists()
    # With one, the better file is fetched: numbers do not depend on the cache.
    checkpoint_folder("some/model")
    assert weights.is_file()


def test_the_real_cache_is_read_without_a_network(checkpoint, tmp_path, monkeypatch):
    repository = tmp_path / "hub" / "models--some--model"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    (repository / "snapshots").mkdir()
    checkpoint.rename(repository / "snapshots" / COMMIT)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    assert is_cached("some/model")
    folder = checkpoint_folder("some/model", local_files_only=True)
    assert weights_identity(folder) == COMMIT
    (folder / "vae" / WEIGHTS).unlink()
    assert not is_cached("some/model")
    assert not is_cached("some/model", "v2")
    with pytest.raises(MissingWeightsError, match=r"'some/model' at revision 'main' is neither"):
        checkpoint_folder("some/model", revision="main", local_files_only=True)


def test_identity_of_a_snapshot_is_its_commit(tmp_path):
    commit = "0123456789abcdef0123456789abcdef01234567"
    assert weights_identity(tmp_path / "snapshots" / commit) == commit
