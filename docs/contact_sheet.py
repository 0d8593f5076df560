"""Draws the README's picture: frames of runs of the playground, one scene after the other.

python docs/contact_sheet.py docs/contact-sheet.png runs/playground/reference-* runs/playground/...
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from i2vbench import load_suite
from i2vbench.rundir import RunDir
from i2vbench.video_io import read_video

SCENES = ("scene-003", "scene-011", "scene-020", "scene-034", "scene-047", "scene-058")
FRAMES = (0, 3, 6, 9, 12, 15)
SCALE, GAP, MARGIN = 2, 4, 190


def draw(output: Path, runs: list[RunDir]) -> None:
    """Writes one row per scene and run: the name, then six of the sixteen frames."""
    captions = {sample.id: sample.prompt for sample in load_suite("playground")}
    side = 64 * SCALE
    row = side + GAP
    block = 24 + len(runs) * row + 12
    size = (MARGIN + len(FRAMES) * (side + GAP), len(SCENES) * block)
    sheet = Image.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for number, scene in enumerate(SCENES):
        top = number * block
        pen.text((4, top + 3), captions[scene], fill="black", font=font)
        for line, run in enumerate(runs):
            y = top + 24 + line * row
            pen.text((4, y + side // 2 - 10), run.spec["model"]["name"], fill="black", font=font)
            frames = read_video(run.video_path(scene, 0)).frames
            for column, index in enumerate(FRAMES):
                enlarged = np.kron(frames[index], np.ones((SCALE, SCALE, 1), np.uint8))
                sheet.paste(Image.fromarray(enlarged), (MARGIN + column * (side + GAP), y))
    sheet.save(output, optimize=True)


if __name__ == "__main__":
    draw(Path(sys.argv[1]), [RunDir.open(Path(path)) for path in sys.argv[2:]])
