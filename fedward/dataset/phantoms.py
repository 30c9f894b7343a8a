"""Drawn chest phantoms with a learnable finding: the data set that needs no data.

A phantom has a torso, two lung fields, heart, spine, rib arcs, soft tissue texture and small bright markers; a
patient's geometry is shared by its one to three images, exposure and noise differ from image to image. Patients
with the finding show a soft blob, "opacity", inside a lung. Exposure varies by more than the blob adds, so that
brightness alone tells little.

Limits: phantoms test the machinery. They say nothing about how well a model reads real radiographs.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedward.dataset.records import Entry, Listing

FINDING, NEGATIVE = "opacity", "normal"

_STREAM = 0x9A47  # keeps these draws apart from others under the same seed
_BATCH = 128  # images rendered at a time; part of the format: noise is drawn batch by batch
_POSITIVE_SHARE = 0.45
_TEXTURE_CELLS = 9  # grain of healthy tissue, between ribs and lungs: what a blob must be told from
_MOTTLE_CELLS = 28  # grain inside the finding, finer

Plane = NDArray[np.float32]


@dataclass(frozen=True)
class _Patients:
    """Everything random about the patients, one row each; `pick` gives one value in a range as (n, 1, 1)."""

    uniform: NDArray[np.float32]

    def pick(self, column: int, low: float, high: float) -> Plane:
        values: Plane = (low + (high - low) * self.uniform[:, column])[:, None, None].astype(np.float32)
        return values


def list_phantoms(count: int, image_size: int, seed: int) -> Listing:
    """Draw phantoms.

    Args:
        count: Number of images; patients have one to three each.
        image_size: Side, in pixels.
        seed: The same seed, count and size give the same bytes.
    """
    rng = np.random.default_rng([seed, _STREAM])
    patient_of, positive, geometry, views = _draw(count, rng)
    images = np.empty((count, image_size, image_size), dtype=np.uint8)
    for start in range(0, count, _BATCH):
        rows = slice(start, start + _BATCH)
        images[rows] = _render(_Patients(geometry[rows]), _Patients(views[rows]), positive[rows], image_size, rng)
    entries = tuple(
        Entry(
            f"phantom {row}",
            (FINDING if positive[row] else NEGATIVE,),
            f"phantom patient {patient_of[row]}",
            None,
            patient_by="the phantoms' own names",
        )
        for row in range(count)
    )
    return Listing("synthetic", entries, (NEGATIVE, FINDING), NEGATIVE, exclusive=True, pixels=images)


def finding_places(count: int, image_size: int, seed: int) -> NDArray[np.bool_]:
    """Where the finding of each phantom of `list_phantoms` is drawn, to the radius at which 1/e of its middle is left.

    Args:
        count: Number of images.
        image_size: Side, in pixels.
        seed: As for `list_phantoms`.

    Returns:
        bool, shape (count, image_size, image_size); nowhere in phantoms without the finding.
    """
    _, positive, geometry, views = _draw(count, np.random.default_rng([seed, _STREAM]))
    view = _Patients(views)
    x, y = _grid(view, image_size)
    return positive[:, None, None] & (_outline(_Patients(geometry), view, x, y) <= 1)


def _draw(
    count: int, rng: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.bool_], NDArray[np.float32], NDArray[np.float32]]:
    """Each image's patient, whether that has the finding, and what is random about the patient and about the image."""
    patient_of = np.repeat(np.arange(count), rng.integers(1, 4, size=count))[:count]
    positive = (rng.random(count) < _POSITIVE_SHARE)[patient_of]
    geometry = rng.random((count, 24), dtype=np.float32)[patient_of]
    views = rng.random((count, 16), dtype=np.float32)
    return patient_of, positive, geometry, views


def _grid(view: _Patients, size: int) -> tuple[Plane, Plane]:
    """The places of the pixels in the body's coordinates, as each image's zoom and shift have them."""
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    zoom = view.pick(0, 0.93, 1.07)
    x = axis[None, None, :] * zoom + view.pick(1, -0.06, 0.06)
    y = axis[None, :, None] * zoom + view.pick(2, -0.06, 0.06)
    return x, y


def _render(
    body: _Patients, view: _Patients, positive: NDArray[np.bool_], size: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """One batch of images: anatomy, finding, texture, then exposure and noise."""
    x, y = _grid(view, size)
    lungs = _lungs(body, x, y)
    tissue = _anatomy(body, x, y, lungs)
    mottle = 1.0 + 0.7 * _texture(len(positive), size, _MOTTLE_CELLS, rng)
    tissue += positive[:, None, None] * _opacity(body, view, x, y) * mottle * (0.25 + 0.75 * lungs)
    tissue += _texture(len(positive), size, _TEXTURE_CELLS, rng) * np.float32(0.025)
    tissue += _markers(view, x, y)
    exposed = np.clip(tissue, 0.0, 1.5) ** view.pick(3, 0.8, 1.25) * view.pick(4, 0.75, 1.1) + view.pick(5, -0.04, 0.08)
    exposed += view.pick(6, 0.006, 0.024) * rng.standard_normal(exposed.shape, dtype=np.float32)
    rounded: NDArray[np.uint8] = np.clip(np.rint(exposed * 255.0), 0, 255).astype(np.uint8)
    return rounded


def _soft(distance: Plane, edge: float) -> Plane:
    """1 inside (distance below 1), 0 outside, with a soft edge."""
    inside: Plane = 1.0 / (1.0 + np.exp(np.clip((distance - 1.0) / edge, -30.0, 30.0)))
    return inside


def _ellipse(x: Plane, y: Plane, center: tuple[Plane, Plane], radii: tuple[Plane, Plane], tilt: Plane) -> Plane:
    """Squared elliptic distance: 1 on the outline."""
    dx, dy = x - center[0], y - center[1]
    along, across = dx + tilt * dy, dy - tilt * dx
    squared: Plane = (along / radii[0]) ** 2 + (across / radii[1]) ** 2
    return squared


def _lungs(body: _Patients, x: Plane, y: Plane) -> Plane:
    """Both lung fields, values in [0, 1]."""
    height, width = body.pick(0, 0.52, 0.68), body.pick(1, 0.24, 0.32)
    right = _ellipse(
        x, y, (body.pick(2, -0.46, -0.36), body.pick(3, -0.12, 0.02)), (width, height), body.pick(4, 0.02, 0.2)
    )
    left = _ellipse(
        x, y, (body.pick(5, 0.36, 0.46), body.pick(6, -0.12, 0.02)), (width, height), body.pick(7, -0.2, -0.02)
    )
    return np.maximum(_soft(right, 0.16), _soft(left, 0.16))


def _anatomy(body: _Patients, x: Plane, y: Plane, lungs: Plane) -> Plane:
    """Attenuation without the finding: torso, lungs, heart, spine, diaphragm and ribs."""
    nowhere = body.pick(0, 0.0, 0.0)
    torso = _soft(_ellipse(x, y, (nowhere, nowhere + 0.25), (body.pick(8, 0.85, 1.0), nowhere + 1.35), nowhere), 0.08)
    heart_center = (body.pick(9, 0.06, 0.2), body.pick(10, 0.18, 0.34))
    heart = _soft(
        _ellipse(x, y, heart_center, (body.pick(11, 0.22, 0.36), body.pick(12, 0.22, 0.32)), nowhere - 0.3), 0.2
    )
    spine = np.exp(-((x / body.pick(13, 0.07, 0.11)) ** 2))
    bow = body.pick(14, 0.25, 0.6) * x * x - body.pick(15, 0.1, 0.35) * np.abs(x)
    ribs = np.maximum(np.cos((y + bow) * body.pick(16, 15.0, 20.0) + body.pick(17, 0.0, 6.28)), 0.0) ** 3
    tissue: Plane = torso * (0.62 + 0.12 * spine) - lungs * body.pick(18, 0.3, 0.42)
    tissue += heart * lungs * body.pick(19, 0.22, 0.32) + ribs * torso * body.pick(20, 0.03, 0.1)
    return tissue


def _opacity(body: _Patients, view: _Patients, x: Plane, y: Plane) -> Plane:
    """The finding: a soft blob in one lung, at one place for all images of a patient."""
    blob: Plane = view.pick(10, 0.26, 0.58) * np.exp(-_outline(body, view, x, y))
    return blob


def _outline(body: _Patients, view: _Patients, x: Plane, y: Plane) -> Plane:
    """Squared elliptic distance from the middle of the finding."""
    side = np.sign(body.pick(21, -1.0, 1.0))
    center = (side * (0.42 + view.pick(7, -0.02, 0.02)), body.pick(22, -0.4, 0.25))
    offset = body.pick(23, -0.1, 0.1)
    radius = view.pick(8, 0.2, 0.32)
    return _ellipse(x, y, (center[0] + offset, center[1]), (radius, radius * view.pick(9, 0.75, 1.3)), offset)


def _texture(count: int, size: int, cells: int, rng: np.random.Generator) -> Plane:
    """Smooth random fields of unit scale with so many cells a side, drawn alike for every image size."""
    values = rng.standard_normal((count, cells, cells), dtype=np.float32)
    places = np.linspace(0, cells - 1, size, dtype=np.float32)[:, None]
    weights = np.maximum(0.0, 1.0 - np.abs(places - np.arange(cells, dtype=np.float32)[None, :]))
    smooth: Plane = (weights @ values @ weights.T).astype(np.float32)
    return smooth


def _markers(view: _Patients, x: Plane, y: Plane) -> Plane:
    """Two small bright spots (electrodes, side letters) anywhere, with or without the finding."""
    radius, upright = view.pick(15, 0.03, 0.06), view.pick(0, 0.0, 0.0)
    first = _ellipse(x, y, (view.pick(11, -0.9, 0.9), view.pick(12, -0.9, 0.9)), (radius, radius), upright)
    second = _ellipse(x, y, (view.pick(13, -0.9, 0.9), view.pick(14, -0.9, 0.9)), (radius, radius), upright)
    spots: Plane = np.float32(0.3) * (np.exp(-first) + np.exp(-second))
    return spots
