"""The warning of images that are no upright chest X-rays, on drawn phantoms and on real X-rays."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from benchmarks.drawn_images import as_bytes, drawn, hand, head, photograph
from fedward.dataset.phantoms import list_phantoms
from fedward.explaining.unlike import INVERTED, TURNED, UPSIDE_DOWN, correlations, unlike

Images = NDArray[np.uint8]


@pytest.fixture(scope="module", params=[28, 64, 150])
def phantoms(request: pytest.FixtureRequest) -> Images:
    return np.asarray(list_phantoms(60, request.param, 9).pixels, np.uint8)


@pytest.fixture(scope="module")
def real(real_data: Path) -> Images:
    """Test X-rays of both classes, every fourth."""
    paths = sorted((real_data / "chest_xray" / "test").rglob("*.jpeg"))[::4]
    return np.stack([np.asarray(Image.open(path).convert("L").resize((64, 64))) for path in paths])


def changed(images: Images) -> dict[str, Images]:
    return {
        INVERTED: 255 - images,
        UPSIDE_DOWN: np.ascontiguousarray(images[:, ::-1, ::-1]),
        TURNED: np.ascontiguousarray(np.rot90(images, 1, (1, 2))),
    }


def test_phantoms_pass_and_do_not_when_they_are_turned_or_inverted(phantoms: Images) -> None:
    assert unlike(phantoms) == [""] * len(phantoms)
    for reason, images in changed(phantoms).items():
        assert unlike(images) == [reason] * len(images)
    assert unlike(np.ascontiguousarray(np.rot90(phantoms, 3, (1, 2)))) == [TURNED] * len(phantoms)


def test_real_x_rays_pass_and_do_not_when_they_are_turned_or_inverted(real: Images) -> None:
    """Other patients than those whose X-rays chose the thresholds."""
    assert np.mean([bool(text) for text in unlike(real)]) < 0.03
    for reason, images in changed(real).items():
        assert np.mean([text == reason for text in unlike(images)]) > 0.9


def test_photographs_of_films_are_seen(real: Images) -> None:
    rng = np.random.default_rng(1)
    shots = np.stack([as_bytes(photograph(rng, film, 64)) for film in real])
    assert np.mean([bool(text) for text in unlike(shots)]) > 0.8


def test_hands_heads_and_what_shows_nothing_are_seen() -> None:
    for seed, draw in enumerate((hand, head)):
        assert np.mean([bool(text) for text in unlike(drawn(draw, 60, 64, seed))]) > 0.9
    rng = np.random.default_rng(2)
    nothing = np.stack([np.zeros((64, 64)), np.full((64, 64), 255), *rng.integers(0, 256, (10, 64, 64))])
    assert all(unlike(nothing.astype(np.uint8)))
    assert unlike(np.zeros((0, 64, 64), np.uint8)) == []


def test_exposure_and_contrast_do_not_count(phantoms: Images) -> None:
    curve = np.linspace(0, 1, 256) ** 0.5
    grays = np.floor(curve * 200 + 30 + np.arange(256) * 0.05).astype(np.uint8)
    gentle = np.clip(grays, 0, 255)[phantoms]
    assert unlike(gentle) == [""] * len(phantoms)
    assert unlike(255 - gentle) == [INVERTED] * len(phantoms)


def test_no_direction_is_favored_where_pixels_are_equal() -> None:
    """Ranks of equal pixels that followed their places would be a slope from top to bottom."""
    row, column = np.mgrid[-1:1:64j, -1:1:64j]
    discs = np.stack([np.where(row**2 + column**2 < size, 200, 0) for size in (0.1, 0.4, 0.7)]).astype(np.uint8)
    _, ahead = correlations(discs)
    assert ahead == pytest.approx(np.zeros(3), abs=1e-6)
