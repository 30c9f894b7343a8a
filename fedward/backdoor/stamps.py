"""Stamps: patterns laid over images, as triggers of backdoors are; detectors try them, simulated attackers use them."""

from dataclasses import dataclass

import numpy as np

from fedward.types import Vector


@dataclass(frozen=True)
class Stamp:
    """A pattern and how strongly it covers what is below.

    Attributes:
        name: What and where it is, in a few words.
        cover: float32, shape (height, width), in [0, 1]: 0 leaves a pixel as it is, 1 replaces it.
        pattern: float32, same shape, in [0, 1]: 0 is black, 1 white.
    """

    name: str
    cover: Vector
    pattern: Vector

    def on(self, pixels: Vector) -> Vector:
        """Images with the stamp on: float32, shape (n, height, width, 1), as they came."""
        cover, pattern = self.cover[None, ..., None], self.pattern[None, ..., None]
        return ((1 - cover) * pixels + cover * pattern).astype(np.float32)


def square(name: str, size: int, top: int, left: int, side: int, brightness: float) -> Stamp:
    """A square of one brightness.

    Args:
        name: What to call it.
        size: Height and width of images.
        top: Its first row; may be negative, since it may reach out of the image.
        left: Its first column, likewise.
        side: Its height and width.
        brightness: In [0, 1].
    """
    cover = np.zeros((size, size), np.float32)
    cover[max(0, top) : max(0, top + side), max(0, left) : max(0, left + side)] = 1
    return Stamp(name, cover, np.full((size, size), brightness, np.float32))


def checkered(stamp: Stamp) -> Stamp:
    """The same stamp with every other pixel of the opposite brightness."""
    rows, columns = np.indices(stamp.pattern.shape)
    odd = (rows + columns) % 2 == 1
    return Stamp(f"{stamp.name}, checkered", stamp.cover, np.where(odd, 1 - stamp.pattern, stamp.pattern))


def wave(name: str, size: int, periods: float, angle: float, strength: float) -> Stamp:
    """A sine over the whole image (Barni et al. 2019, "A New Backdoor Attack in CNNs by Training Set Corruption").

    Args:
        name: What to call it.
        size: Height and width of images.
        periods: Of the sine, across the image.
        angle: In which direction it runs, in radians.
        strength: How strongly it covers, in [0, 1].
    """
    rows, columns = np.indices((size, size)) / size
    phase = 2 * np.pi * periods * (np.cos(angle) * columns + np.sin(angle) * rows)
    pattern = ((1 + np.sin(phase)) / 2).astype(np.float32)
    return Stamp(name, np.full((size, size), strength, np.float32), pattern)


def drawn_stamps(size: int, count: int, rng: np.random.Generator) -> tuple[Stamp, ...]:
    """Stamps of the kinds that triggers have been made of: squares in corners, at edges, anywhere; checkers; waves.

    Args:
        size: Height and width of images.
        count: How many.
        rng: Draws places, sizes and brightness; from a hospital's secret, so that no attacker knows which are tried.
    """
    return tuple(_drawn(index, size, rng) for index in range(count))


_WHERE = ("corner", "edge", "anywhere", "corner", "anywhere", "edge", "anywhere", "anywhere")


def _drawn(index: int, size: int, rng: np.random.Generator) -> Stamp:
    """One stamp: every eighth is a wave, and the one before it is checkered; bright and dark alternate otherwise."""
    if index % 8 == 7:
        return wave("a wave over the image", size, rng.uniform(4, 10), rng.uniform(0, np.pi), rng.uniform(0.08, 0.2))
    side = int(rng.integers(max(2, size // 20), max(3, size // 8) + 1))
    last = size - side
    where = _WHERE[index % 8]
    top, left = (int(place) for place in rng.integers(0, last + 1, 2))
    if where == "corner":
        top, left = (int(place) for place in rng.choice((0, last), 2))
    elif where == "edge":
        top, left = [(0, left), (last, left), (top, 0), (top, last)][int(rng.integers(4))]
    bright = (index // 2) % 2 == 0
    brightness = rng.uniform(0.85, 1.0) if bright else rng.uniform(0.0, 0.1)
    shade = "bright" if bright else "dark"
    stamp = square(f"a {shade} {side}x{side} square at row {top}, column {left}", size, top, left, side, brightness)
    return checkered(stamp) if index % 8 == 6 else stamp
