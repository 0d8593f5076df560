"""AnimateBench: 105 cases of image animation, 35 pictures in 7 styles with 3 prompts each.

From PIA (open-mmlab/PIA), on the hub as ymzhang319/AnimateBench. Read there: 105 cases; 7 folders
``img/<style>/`` of 5 pictures ``1.png`` to ``5.jpg``; ``configs/<style>.yaml``. What the YAML files
say was not at hand: they are read as the configurations in PIA's own repository are written, where
``prompts`` is a list with one list of prompts per picture. Another form is refused, not guessed at.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from i2vbench.errors import UserError
from i2vbench.pictures import PICTURE_SUFFIXES
from i2vbench.sample import Suite
from i2vbench.suites.importer import Importer, SuiteOptions, check_flag
from i2vbench.suites.layout import Problems, files_in, folders_in
from i2vbench.suites.manifest import suite_of_rows
from i2vbench.suites.root import Root
from i2vbench.suites.table import Row
from i2vbench.yaml_text import load_yaml

NUM_STYLES, NUM_PICTURES, NUM_CASES = 7, 35, 105


@dataclass(frozen=True, kw_only=True)
class AnimateBenchOptions(SuiteOptions):
    """Options of ``animatebench``."""

    partial: bool = False
    """Whether to go on with other counts than the published ones."""

    def __post_init__(self) -> None:
        check_flag("partial", self.partial)


def load(place: str, options: AnimateBenchOptions) -> Suite:
    """The suite; the style is the category.

    Raises:
        UserError: wrong counts, missing or empty files, or prompts of another form.
    """
    folder = Path(place)
    root = Root(folder)
    if not (folder / "img").is_dir():
        raise UserError(
            f"AnimateBench in {folder}: no folder img; give the folder of the whole download"
        )
    advice = "download it again, write a manifest.csv, or give the option partial=true"
    rows: list[Row] = []
    pictures = 0
    with Problems(f"AnimateBench in {folder}", advice) as problems:
        styles = folders_in(folder / "img")
        for style in styles:
            files = sorted(files_in(style, PICTURE_SUFFIXES), key=_number)
            pictures += len(files)
            try:
                prompts = _prompts(root.file(f"configs/{style.name}.yaml"), len(files))
            except UserError as error:
                problems.add(str(error))
                continue
            except (ValueError, OSError) as error:
                problems.add(f"configs/{style.name}.yaml {error}")
                continue
            for file, said in zip(files, prompts, strict=True):
                image = file.relative_to(folder).as_posix()
                problems.file(root, image)
                rows += [
                    Row(
                        line=0,
                        cells={
                            "id": f"{style.name}-{file.stem}-{number}",
                            "prompt": prompt,
                            "image": image,
                            "category": style.name,
                        },
                    )
                    for number, prompt in enumerate(said)
                ]
        if not options.partial:
            problems.expect("cases", len(rows), NUM_CASES)
            problems.expect("pictures", pictures, NUM_PICTURES)
            problems.expect("styles", len(styles), NUM_STYLES)
    if not rows:
        raise UserError(f"AnimateBench in {folder}: img has no pictures with prompts")
    if not options.partial:
        return suite_of_rows("animatebench", rows, folder)
    note = f"{len(rows)} of {NUM_CASES} cases: compare with nothing published"
    suite = suite_of_rows("animatebench-partial", rows, folder)
    return dataclasses.replace(suite, notes=(note,))


def _number(path: Path) -> tuple[int, str]:
    """The order of the pictures: 10 comes after 9."""
    return (int(path.stem) if path.stem.isdecimal() else 0, path.name)


def _prompts(path: Path, num_pictures: int) -> list[list[str]]:
    """The prompts of each picture."""
    if not path.is_file():
        raise ValueError("is missing")
    try:
        content = load_yaml(path.read_text(encoding="utf-8"), f"configs/{path.name}")
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None
    prompts = content.get("prompts") if isinstance(content, dict) else None
    if not isinstance(prompts, list) or not all(
        isinstance(said, list) and said and all(isinstance(p, str) and p.strip() for p in said)
        for said in prompts
    ):
        raise ValueError("has no 'prompts' that are lists of texts, one list per picture")
    if len(prompts) != num_pictures:
        raise ValueError(f"has prompts for {len(prompts)} pictures, img has {num_pictures}")
    return [[prompt.strip() for prompt in said] for said in prompts]


ANIMATEBENCH = Importer(
    name="animatebench",
    place="the folder of AnimateBench, with img and configs",
    options_type=AnimateBenchOptions,
    load=load,
)
