"""Draws images that are no upright chest X-rays: hands, heads and knees, and photographs of films.

For `benchmarks/unlike_images.py`. All are float64, shape (size, size), values about [0, 1].
"""

import itertools
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Plane = NDArray[np.float64]
Stroke = tuple[tuple[float, float], tuple[float, float], float]  # from, to and width, in sides of the image

_FINER = 4  # times as fine as they are kept, lines are drawn
_CORNERS = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float64)
_INWARD = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]], np.float64)


def as_bytes(plane: Plane) -> NDArray[np.uint8]:
    """A drawing as gray levels."""
    return np.clip(np.rint(plane * 255), 0, 255).astype(np.uint8)


def hand(rng: np.random.Generator, size: int) -> Plane:
    """An X-ray of a hand: fingers of several bones, wrist and forearm, on a dark ground."""
    center = rng.uniform(0.42, 0.58), rng.uniform(0.6, 0.7)
    scale, tilt, side = rng.uniform(0.85, 1.15), rng.uniform(-0.3, 0.3), rng.choice([-1, 1])

    def at(angle: float, far: float) -> tuple[float, float]:
        return (
            center[0] + side * scale * far * float(np.sin(angle + tilt)),
            center[1] - scale * far * float(np.cos(angle + tilt)),
        )

    flesh: list[Stroke] = [(at(0, -0.05), at(0, 0.15), 0.3 * scale), (at(0, -0.4), at(0, -0.05), 0.2 * scale)]
    bones: list[Stroke] = [
        (at(2.85, 0.12), at(3.05, 0.5), 0.06 * scale),
        (at(-2.85, 0.12), at(-3.05, 0.5), 0.05 * scale),
    ]
    for angle, usual in zip((-0.95, -0.38, -0.1, 0.16, 0.45), (0.34, 0.5, 0.55, 0.5, 0.42), strict=True):
        length = usual * rng.uniform(0.92, 1.08)
        flesh.append((at(angle, 0.12), at(angle, length), 0.085 * scale))
        joints = (0.1, 0.5, 0.72, 0.88, 1.0) if angle > -0.9 else (0.1, 0.55, 0.8, 1.0)
        for near, far in itertools.pairwise(joints):
            bones.append((at(angle, length * (near + 0.02)), at(angle, length * (far - 0.03)), 0.033 * scale))
    for _ in range(7):
        place = at(rng.uniform(-1.2, 1.2), rng.uniform(0.0, 0.07))
        bones.append((place, place, 0.06 * scale))
    drawn = _strokes(flesh, size) * rng.uniform(0.25, 0.4) + _strokes(bones, size) * rng.uniform(0.3, 0.45)
    return np.asarray(drawn + rng.uniform(0.02, 0.12) + 0.015 * _grain(rng, size, 40))


def head(rng: np.random.Generator, size: int) -> Plane:
    """A slice of a head as MRI shows it: bright scalp, dark skull, folded brain with dark ventricles."""
    x, y = _grid(size)
    center, tilt = rng.uniform(-0.06, 0.06, 2), rng.uniform(-0.15, 0.15)
    radii = np.array([rng.uniform(0.55, 0.72), rng.uniform(0.7, 0.9)])
    scalp, skull, brain = (_inside(_ellipse(x, y, center, radii * part, tilt), 0.06) for part in (1.0, 0.92, 0.84))
    drawn = scalp * rng.uniform(0.6, 0.9) - skull * rng.uniform(0.45, 0.6) + brain * rng.uniform(0.35, 0.5)
    drawn += brain * (0.1 * np.abs(_grain(rng, size, 22)) - 0.05 + 0.08 * _grain(rng, size, 7))
    for side in (-1, 1):
        horn = center + np.array([side * 0.1, -0.02]), np.array([0.06, 0.25]) * rng.uniform(0.8, 1.3)
        drawn -= rng.uniform(0.15, 0.3) * _inside(_ellipse(x, y, *horn, side * 0.25), 0.2)
    drawn -= 0.2 * np.exp(-(((x - center[0]) / 0.015) ** 2)) * brain * (np.abs(y - center[1]) > 0.25)
    return np.asarray(np.clip(drawn, 0, 1) + 0.02 * rng.random((size, size)))


def knee(rng: np.random.Generator, size: int) -> Plane:
    """A knee from the side as MRI shows it: bright bones above each other in a darker limb."""
    x, y = _grid(size)
    across = x - rng.uniform(-0.1, 0.1) * y
    limb = _inside(np.abs(across) / (0.6 + 0.12 * np.sin(2 * y + rng.uniform(0, 6))), 0.05)
    upper = _inside(np.abs(across + 0.05) / (0.26 + 0.14 * _inside(((y + 0.25) / 0.2) ** 2, 0.06)), 0.06) * (y < -0.06)
    lower = _inside(np.abs(across - 0.02) / (0.24 + 0.15 * np.exp(-(((y - 0.2) / 0.16) ** 2))), 0.06) * (y > 0.1)
    drawn = limb * rng.uniform(0.25, 0.4) + (upper + lower) * rng.uniform(0.3, 0.5)
    cap = np.array([-0.52, -0.2]), np.array([0.1, 0.22])
    drawn += rng.uniform(0.3, 0.5) * _inside(_ellipse(x, y, *cap, 0.0), 0.1) + 0.05 * limb * _grain(rng, size, 16)
    return np.asarray(np.clip(drawn, 0, 1) + 0.02 * rng.random((size, size)))


def photograph(rng: np.random.Generator, film: NDArray[np.uint8], size: int) -> Plane:
    """A photograph of a film on a light box or a table: in perspective, with glare, uneven light, blur and noise.

    Args:
        rng: Draws all of that. The film fills 31 to 77 of 100 parts of the picture.
        film: An X-ray, uint8, square.
        size: Side of the photograph.
    """
    finer = 2 * size
    corners = (_CORNERS + _INWARD * rng.uniform(0.06, 0.22, (4, 2))) * finer
    shown, mask = (
        np.asarray(_projected(Image.fromarray(each), corners, finer), np.float64) / 255
        for each in (film, np.full_like(film, 255))
    )
    ground = rng.choice([rng.uniform(0.75, 0.98), rng.uniform(0.05, 0.5)]) + 0.06 * _grain(rng, finer, 6)
    x, y = _grid(finer)
    glare = rng.uniform(-0.6, 0.6, 2)
    picture = shown * mask + ground * (1 - mask)
    picture += rng.uniform(0.1, 0.5) * np.exp(
        -((x - glare[0]) ** 2 + (y - glare[1]) ** 2) / (8 * rng.uniform(0.04, 0.12) ** 2)
    )
    picture *= 1 + rng.uniform(-0.12, 0.12) * x + rng.uniform(-0.12, 0.12) * y
    blurred = Image.fromarray(as_bytes(picture)).filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 1.5)))
    small = np.asarray(blurred.resize((size, size), Image.Resampling.LANCZOS), np.float64) / 255
    return np.asarray(np.clip(small + rng.normal(0, 0.015, (size, size)), 0, 1))


def drawn(draw: Callable[[np.random.Generator, int], Plane], count: int, size: int, seed: int) -> NDArray[np.uint8]:
    """So many drawings of a kind: uint8, shape (count, size, size)."""
    rng = np.random.default_rng(seed)
    return np.stack([as_bytes(draw(rng, size)) for _ in range(count)])


def _projected(image: Image.Image, corners: Plane, size: int) -> Image.Image:
    """An image with its corners moved to these places of a picture, by a perspective."""
    rows, wanted = [], []
    for (x, y), (u, v) in zip(corners, _CORNERS * (image.width - 1), strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        wanted += [u, v]
    mapping = np.linalg.solve(np.array(rows), np.array(wanted))
    return image.transform((size, size), Image.Transform.PERSPECTIVE, mapping.tolist(), Image.Resampling.BICUBIC)


def _strokes(strokes: Sequence[Stroke], size: int) -> Plane:
    """Lines with round ends, 1 inside."""
    image = Image.new("L", (size * _FINER,) * 2)
    draw = ImageDraw.Draw(image)
    for start, end, width in strokes:
        scaled = [value * size * _FINER for value in (*start, *end)]
        half = width * size * _FINER / 2
        draw.line(scaled, fill=255, width=max(1, round(2 * half)))
        for x, y in (scaled[:2], scaled[2:]):
            draw.ellipse((x - half, y - half, x + half, y + half), fill=255)
    return np.asarray(image.resize((size, size), Image.Resampling.LANCZOS), np.float64) / 255


def _grid(size: int) -> tuple[Plane, Plane]:
    """Places of the pixels from -1 to 1, across and down."""
    axis = np.linspace(-1, 1, size)
    return np.broadcast_to(axis, (size, size)), np.broadcast_to(axis[:, None], (size, size))


def _grain(rng: np.random.Generator, size: int, cells: int) -> Plane:
    """Smooth noise of unit scale with so many cells a side."""
    coarse = Image.fromarray(rng.normal(0, 1, (cells, cells)).astype(np.float32))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), np.float64)


def _ellipse(x: Plane, y: Plane, center: Plane, radii: Plane, tilt: float) -> Plane:
    """Squared elliptic distance: 1 on the outline."""
    dx, dy = x - center[0], y - center[1]
    along, across = dx * np.cos(tilt) + dy * np.sin(tilt), dy * np.cos(tilt) - dx * np.sin(tilt)
    return np.asarray((along / radii[0]) ** 2 + (across / radii[1]) ** 2)


def _inside(distance: Plane, edge: float) -> Plane:
    """1 where the distance is below 1, with a soft edge."""
    return np.asarray(1 / (1 + np.exp(np.clip((distance - 1) / edge, -30, 30))))
