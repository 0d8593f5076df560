"""Procedural scenes: what is in them, how it moves, and how a scene follows from one integer seed.

A scene is a function of continuous time. Time 0 is the first frame and time 1 the last frame of the
*reference clip*: 16 frames at frame stride 3, the published ConsistI2V sampling default. A larger
stride therefore shows the same scene faster, as it does when frames of a filmed video are skipped.

Coordinates are centred, y points down, and 1 is the shorter side of the frame, so that a scene does
not know the size it is rendered at.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

REFERENCE_FRAMES = 16
REFERENCE_STRIDE = 3.0

COLORS: dict[str, tuple[int, int, int]] = {
    "red": (214, 40, 40),
    "orange": (243, 138, 28),
    "yellow": (248, 216, 52),
    "green": (46, 150, 60),
    "cyan": (48, 196, 206),
    "blue": (38, 84, 204),
    "purple": (128, 52, 170),
    "pink": (242, 130, 178),
    "brown": (126, 80, 44),
    "black": (28, 28, 32),
    "white": (242, 242, 238),
    "gray": (132, 134, 138),
}
SHAPES = ("circle", "square", "triangle", "star", "ring", "cross", "heart", "hexagon")
PATTERNS = ("plain", "striped", "dotted", "checkered")
TEXTURES = ("gradient", "checkered", "striped", "dotted", "cloudy", "brick", "grass", "marble")

_DIAGONAL = math.sqrt(0.5)
DIRECTIONS: dict[str, tuple[float, float]] = {
    "right": (1.0, 0.0),
    "left": (-1.0, 0.0),
    "up": (0.0, -1.0),
    "down": (0.0, 1.0),
    "up-right": (_DIAGONAL, -_DIAGONAL),
    "up-left": (-_DIAGONAL, -_DIAGONAL),
    "down-right": (_DIAGONAL, _DIAGONAL),
    "down-left": (-_DIAGONAL, _DIAGONAL),
}
MOTIONS = (
    *(f"translate-{name}" for name in DIRECTIONS),
    "rotate-clockwise",
    "rotate-counterclockwise",
    "grow",
    "shrink",
    "bounce",
    "still",
)
PANS: dict[str, tuple[float, float]] = {
    f"pan-{name}": DIRECTIONS[name] for name in ("right", "left", "up", "down")
}
CAMERAS = ("static", *PANS, "zoom-in", "zoom-out")

SPEEDS: dict[str, float] = {"slow": 0.32, "normal": 0.48, "fast": 0.66}
"""Travel of a translating shape in the reference clip, in frame sides."""
_TURN = {"slow": 0.22, "normal": 0.4, "fast": 0.62}
_LOG_SCALE = {"slow": 0.4, "normal": 0.6, "fast": 0.85}
_PAN_TRAVEL = 0.34
_LOG_ZOOM = 0.45
_BOUNCE_HEIGHT = {"slow": 0.22, "normal": 0.3, "fast": 0.38}
_BOUNCES = 1.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Pose:
    """Where a shape is at one time: centre and radius in frame sides, angle in radians."""

    x: float
    y: float
    radius: float
    angle: float


def carried(points_N2: npt.NDArray[np.float64], start: Pose, now: Pose) -> npt.NDArray[np.float64]:
    """Returns where points of a shape are, (N, 2), that has gone from one pose to another."""
    turn, growth = now.angle - start.angle, now.radius / start.radius
    cosine, sine = math.cos(turn) * growth, math.sin(turn) * growth
    x_N, y_N = (points_N2 - (start.x, start.y)).T
    return np.stack([cosine * x_N - sine * y_N + now.x, sine * x_N + cosine * y_N + now.y], axis=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """A shape, its looks, its pose at time 0 and its motion in the world (not on the screen)."""

    kind: str
    color: str
    pattern: str
    second_color: str
    """Colour of the stripes, dots or squares; unused by the plain pattern."""
    start: Pose
    motion: str
    speed: str

    def pose(self, time: float) -> Pose:
        """Returns the pose in the world at `time` (1 = end of the reference clip)."""
        x, y, radius, angle = self.start.x, self.start.y, self.start.radius, self.start.angle
        kind, _, way = self.motion.partition("-")
        if kind == "translate":
            travel = SPEEDS[self.speed] * time
            x, y = x + DIRECTIONS[way][0] * travel, y + DIRECTIONS[way][1] * travel
        elif kind == "rotate":
            turn = 2 * math.pi * _TURN[self.speed] * time
            angle += turn if way == "clockwise" else -turn
        elif kind in ("grow", "shrink"):
            growth = _LOG_SCALE[self.speed] * time
            radius *= math.exp(growth if kind == "grow" else -growth)
        elif kind == "bounce":
            y -= _BOUNCE_HEIGHT[self.speed] * abs(math.sin(math.pi * _BOUNCES * time))
        return Pose(x=x, y=y, radius=radius, angle=angle)


@dataclass(frozen=True, kw_only=True, slots=True)
class Background:
    """A textured plane behind the shapes."""

    texture: str
    color: str
    second_color: str
    cell: float
    """Size of one square, stripe, dot, brick or cloud, in frame sides."""
    angle: float
    offset: tuple[float, float]
    noise_seed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """All that can be seen, in painter's order: the first shape is the subject and lies on top.

    Scenes of `scene_from_seed` have a subject; without shapes there is the camera's move alone.
    """

    seed: int
    background: Background
    shapes: tuple[Shape, ...]
    camera: str
    phrasing: int
    """Chooses one of the grammatical paraphrases of the caption."""

    @property
    def motion(self) -> str:
        """The motion of the subject."""
        return self.shapes[0].motion

    @property
    def category(self) -> str:
        """What moves: "pan" or "zoom" if the camera does, else the motion class of the subject."""
        if self.camera != "static":
            return self.camera.partition("-")[0]
        kind = self.motion.partition("-")[0]
        return "resize" if kind in ("grow", "shrink") else kind

    def view(self, time: float) -> tuple[float, float, float]:
        """Returns (x, y, zoom): the world point in the middle of the frame, and magnification."""
        if self.camera in PANS:
            direction = PANS[self.camera]
            return direction[0] * _PAN_TRAVEL * time, direction[1] * _PAN_TRAVEL * time, 1.0
        if self.camera == "static":
            return 0.0, 0.0, 1.0
        return 0.0, 0.0, math.exp(_LOG_ZOOM * time * (1.0 if self.camera == "zoom-in" else -1.0))


def frame_time(index: int, frame_stride: float = REFERENCE_STRIDE) -> float:
    """Returns the scene time of frame `index`.

    >>> frame_time(15, 3.0)
    1.0
    """
    return index * frame_stride / ((REFERENCE_FRAMES - 1) * REFERENCE_STRIDE)


def scene_from_seed(seed: int) -> Scene:
    """Returns the scene of `seed`; equal seeds give equal scenes in every process."""
    if seed < 0:
        raise ValueError(f"seed must be >= 0, got {seed}")
    rng = np.random.Generator(np.random.PCG64(seed))
    camera = "static" if rng.random() < 0.5 else _pick(rng, CAMERAS[1:])
    background = _draw_background(rng)
    count = 1 + int(rng.choice(3, p=(0.5, 0.36, 0.14)))
    # A still subject under a still camera would be a photograph, not a video.
    motions = MOTIONS[:-1] if camera == "static" else MOTIONS
    shapes: list[Shape] = []
    for index in range(count):
        if index == 0:
            motion = _pick(rng, motions)
        else:
            motion = "still" if rng.random() < 0.5 else _pick(rng, MOTIONS[:-1])
        shapes.append(_draw_shape(rng, index, motion, camera, background, shapes))
    return Scene(
        seed=seed,
        background=background,
        shapes=tuple(shapes),
        camera=camera,
        phrasing=int(rng.integers(1 << 16)),
    )


def _pick(rng: np.random.Generator, names: tuple[str, ...] | list[str]) -> str:
    return names[int(rng.integers(len(names)))]


def _contrast(first: str, second: str) -> float:
    weights = np.array([0.55, 0.9, 0.5])
    return float(np.linalg.norm((np.array(COLORS[first]) - np.array(COLORS[second])) * weights))


def _draw_background(rng: np.random.Generator) -> Background:
    texture = _pick(rng, TEXTURES)
    if texture == "grass":
        color, second = "green", "green"
    elif texture == "brick":
        color, second = _pick(rng, ("red", "brown", "gray", "orange")), "gray"
    elif texture == "cloudy":
        color, second = _pick(rng, ("blue", "cyan", "gray", "purple", "pink")), "white"
    else:
        color = _pick(rng, tuple(COLORS))
        second = _pick(rng, [name for name in COLORS if _contrast(name, color) > 60.0])
    return Background(
        texture=texture,
        color=color,
        second_color=second,
        cell=float(rng.uniform(0.16, 0.3)),
        angle=float(rng.choice((0.0, 0.0, math.pi / 4, math.pi / 2, -math.pi / 4))),
        offset=(float(rng.uniform(-1, 1)), float(rng.uniform(-1, 1))),
        noise_seed=int(rng.integers(1 << 31)),
    )


def _draw_shape(
    rng: np.random.Generator,
    index: int,
    motion: str,
    camera: str,
    background: Background,
    others: list[Shape],
) -> Shape:
    kind = _pick(rng, SHAPES)
    pattern = "plain" if rng.random() < 0.45 else _pick(rng, PATTERNS[1:])
    if motion.startswith("rotate") and kind in ("circle", "ring"):
        # A plain disc looks the same at every angle.
        pattern = "striped"
    behind = {background.color, background.second_color} | {other.color for other in others}
    clear = [name for name in COLORS if all(_contrast(name, other) > 55.0 for other in behind)]
    color = _pick(rng, clear or [name for name in COLORS if name not in behind])
    second = _pick(rng, [name for name in COLORS if _contrast(name, color) > 80.0])
    speed = _pick(rng, tuple(SPEEDS))
    for _ in range(24):
        start = _draw_start(rng, index, motion, speed, camera)
        if all(
            math.hypot(start.x - o.start.x, start.y - o.start.y) > start.radius + o.start.radius
            for o in others
        ):
            break
    return Shape(
        kind=kind,
        color=color,
        pattern=pattern,
        second_color=second,
        start=start,
        motion=motion,
        speed=speed,
    )


def _draw_start(rng: np.random.Generator, index: int, motion: str, speed: str, camera: str) -> Pose:
    """Draws a pose from which the middle of the motion falls into the frame."""
    radius = float(rng.uniform(0.15, 0.22) if index == 0 else rng.uniform(0.09, 0.15))
    if motion == "grow":
        radius *= 0.75
    elif motion == "shrink":
        radius *= 1.3
    spread = 0.12 if index == 0 else 0.32
    x, y = (float(rng.uniform(-spread, spread)) for _ in range(2))
    kind, _, way = motion.partition("-")
    if kind == "translate":
        x -= DIRECTIONS[way][0] * SPEEDS[speed] / 2
        y -= DIRECTIONS[way][1] * SPEEDS[speed] / 2
    elif kind == "bounce":
        y += _BOUNCE_HEIGHT[speed] / 2
    if camera in PANS:
        x += PANS[camera][0] * _PAN_TRAVEL / 2
        y += PANS[camera][1] * _PAN_TRAVEL / 2
    limit = 0.5 - 0.6 * radius
    return Pose(
        x=min(max(x, -limit), limit),
        y=min(max(y, -limit), limit),
        radius=radius,
        angle=float(rng.uniform(-0.4, 0.4)),
    )
