"""Sentences that say what a scene shows and how it moves, the camera included."""

from __future__ import annotations

from i2vbench.suites.playground.scenes import Background, Scene, Shape

NUM_PHRASINGS = 24
"""Paraphrases of one scene that differ in wording or word order."""

_DIRECTION_WORDS = {
    "right": "to the right",
    "left": "to the left",
    "up": "up",
    "down": "down",
    "up-right": "to the upper right",
    "up-left": "to the upper left",
    "down-right": "to the lower right",
    "down-left": "to the lower left",
}
_TRANSLATE_VERBS = ("moves", "slides", "glides", "travels")
_ROTATE_VERBS = ("spins", "rotates", "turns")
_SPEED_WORDS = {"slow": " slowly", "normal": "", "fast": " quickly"}
_OPENINGS = ("", "", "", "", "a video of ", "an animation of ")
_PHOTOGRAPHS = ("a photograph", "a photo", "a picture")
_PREPOSITIONS = ("over", "in front of", "on")
_CAMERA_WORDS = {
    "static": ("", "", "the camera is still"),
    "pan-right": (
        "the camera pans right",
        "the camera moves to the right",
        "camera pan to the right",
    ),
    "pan-left": ("the camera pans left", "the camera moves to the left", "camera pan to the left"),
    "pan-up": ("the camera pans up", "the camera moves up", "camera pan upwards"),
    "pan-down": ("the camera pans down", "the camera moves down", "camera pan downwards"),
    "zoom-in": ("the camera zooms in", "the camera moves closer", "zoom in"),
    "zoom-out": ("the camera zooms out", "the camera moves away", "zoom out"),
}


def caption(scene: Scene, phrasing: int | None = None) -> str:
    """Returns one English sentence about `scene`, lower case, without a full stop.

    Args:
        scene: The scene; one without shapes is taken for a photograph.
        phrasing: Which paraphrase; the scene's own if None. Any integer is accepted.
    """
    variant = scene.phrasing if phrasing is None else phrasing
    camera = _CAMERA_WORDS[scene.camera][variant // 2 % 3]
    if not scene.shapes:
        return ", ".join(filter(None, (_PHOTOGRAPHS[variant // 7 % 3], camera)))
    parts = [
        f"{_article(noun)} {noun} {_verb(shape, variant)}"
        for shape in scene.shapes
        for noun in [_noun(shape)]
    ]
    body = " while ".join([parts[0], *parts[1:2]])
    body = " and ".join([body, *parts[2:]])
    place = f"{_PREPOSITIONS[variant // 5 % 3]} {_surface(scene.background)}"
    opening = _OPENINGS[variant // 7 % 6]
    if opening:
        # "a video of a star that moves up": the verb needs its pronoun after an opening noun
        # phrase.
        noun = _noun(scene.shapes[0])
        body = body.replace(f"{noun} ", f"{noun} that ", 1)
    sentence = f"{opening}{body} {place}"
    if not camera:
        return sentence
    if not opening and camera.startswith("the") and variant % 4 == 3:
        return f"{camera} while {sentence}" if len(scene.shapes) == 1 else f"{camera}, {sentence}"
    return f"{sentence}, {camera}"


def _article(noun: str) -> str:
    return "an" if noun[0] in "aeiou" else "a"


def _noun(shape: Shape) -> str:
    pattern = "" if shape.pattern == "plain" else f"{shape.pattern} "
    return f"{shape.color} {pattern}{shape.kind}"


def _verb(shape: Shape, variant: int) -> str:
    kind, _, way = shape.motion.partition("-")
    speed = _SPEED_WORDS[shape.speed]
    if kind == "translate":
        return f"{_TRANSLATE_VERBS[variant % 4]}{speed} {_DIRECTION_WORDS[way]}"
    if kind == "rotate":
        return f"{_ROTATE_VERBS[variant % 3]}{speed} {way}"
    if kind == "grow":
        return ("grows", "gets bigger")[variant % 2] + speed
    if kind == "shrink":
        return ("shrinks", "gets smaller")[variant % 2] + speed
    if kind == "bounce":
        return (
            f"bounces{ {'slow': ' low', 'normal': '', 'fast': ' high'}[shape.speed] } up and down"
        )
    return ("stays still", "does not move")[variant % 2]


def _surface(background: Background) -> str:
    if background.texture == "grass":
        return "green grass"
    if background.texture == "brick":
        return f"{_article(background.color)} {background.color} brick wall"
    if background.texture == "cloudy":
        return f"a cloudy {background.color} sky"
    if background.texture == "gradient":
        return f"a background that fades from {background.color} to {background.second_color}"
    colors = f"{_article(background.color)} {background.color} and {background.second_color}"
    if background.texture == "marble":
        return f"{colors} marble background"
    return f"{colors} {background.texture} background"
