"""The published configuration, and what may not be written into it."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from i2vbench.errors import UserError
from i2vbench.models.commands import train
from i2vbench.models.consisti2v.training.recipe import Recipe, load_recipe

ROOT = Path(__file__).resolve().parents[4]
DATA = {"webvid_json": "webvid.jsonl"}


def test_the_defaults_are_the_published_ones():
    recipe = Recipe(**DATA)
    published = {
        "size_px": 256,
        "num_frames": 16,
        "stride_min": 1,
        "stride_max": 5,
        "prediction": "epsilon",
        "noise": "pyoco_mixed",
        "noise_alpha": 1.0,
        "text_dropout": 0.1,
        "image_dropout": 0.1,
        "learning_rate": 5e-5,
        "adam_beta1": 0.9,
        "adam_beta2": 0.999,
        "adam_epsilon": 1e-8,
        "weight_decay": 1e-2,
        "max_grad_norm": 0.5,
        "batch_size": 3,
        "gradient_accumulation": 1,
        "steps": 200_000,
        "warmup_steps": 0,
        "ema": False,
        "mixed_precision": "bf16",
        "trainable": "all",
        "first_frame_condition_mode": "concat",
        "augment_temporal_attention": True,
    }
    assert {name: getattr(recipe, name) for name in published} == published


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"learning_rte": 1}, "recipe has no 'learning_rte': did you mean 'learning_rate'"),
        ({"steps": 1.5}, "steps=1.5; accepted: an integer"),
        ({"steps": True}, "steps=True; accepted: an integer"),
        ({"flip": True}, "flip=True; accepted: a number"),
        ({"batch_size": 0}, "batch_size=0; accepted: an integer from 1"),
        ({"text_dropout": 1.2}, "text_dropout=1.2; accepted: a number from 0 to 1"),
        ({"prediction": "v_predicton"}, "did you mean 'v_prediction'"),
        ({"stride_min": 4, "stride_max": 3}, "stride_max=3 is below stride_min=4"),
        ({"zero_snr": True}, "add prediction=v_prediction"),
        ({"pexels_json": "p"}, "pexels_json and pexels_captions belong together"),
        ({"webvid_json": None}, "no training data"),
        ({"validation_prompts": ["a"]}, "1 validation_prompts for 0"),
        ({"validation_prompts": "a"}, "accepted: a list of texts"),
    ],
)
def test_a_wrong_value_is_named(values, message):
    with pytest.raises(UserError, match=message):
        load_recipe(None, {**DATA, **values})


def test_overrides_go_over_the_file(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text("webvid_json: a.jsonl\nlearning-rate: 5e-5\nsteps: 7\n")
    recipe = load_recipe(file, {"steps": 8})
    # YAML takes 5e-5, which has no dot, for a text.
    assert (recipe.webvid_json, recipe.learning_rate, recipe.steps) == ("a.jsonl", 5e-5, 8)
    file.write_text("stesp: 7\n")
    with pytest.raises(UserError, match=r"recipe\.yaml: recipe has no 'stesp': did you mean 'ste"):
        load_recipe(file, {})
    file.write_text("- 1\n")
    with pytest.raises(UserError, match="holds list; accepted: a mapping"):
        load_recipe(file, {})


def test_a_dry_run_prints_a_recipe_that_loads(tmp_path):
    arguments = ["consisti2v", "-o", str(tmp_path / "run"), "-a", "webvid_json=x", "--dry-run"]
    done = CliRunner().invoke(train, [*arguments, "--trainable", "temporal"])
    assert done.exit_code == 0, done.output
    file = tmp_path / "recipe.yaml"
    file.write_text(done.output)
    assert load_recipe(file, {}) == Recipe(webvid_json="x", trainable="temporal")
    assert yaml.safe_load(done.output)["ema_decay"] == 0.9999


def test_help_imports_no_torch():
    code = (
        "import sys; from i2vbench.cli import cli;"
        "cli.main(['train', 'consisti2v', '--help'], standalone_mode=False);"
        "print([m for m in ('torch', 'numpy', 'accelerate') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert "--recipe" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"
