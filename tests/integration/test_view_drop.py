"""An image given to the model page: what the model says of it, who may give one, and that nothing of it stays."""

import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sample_images import CR, dicom, encoded, picture
from shared_runs import SharedRuns
from viewing import Browser, Links, served

from commands.view import application, dropped
from data_preprocessing import read_image
from fedward.figures.histograms import sigmoid
from fedward.learning.model_file import load_card, load_logits


@pytest.fixture(scope="module")
def run(shared_runs: SharedRuns) -> Path:
    """A finished run, to read."""
    return shared_runs.concluded() / "run"


@pytest.fixture(scope="module")
def client(run: Path) -> Iterator[Browser]:
    with served(run) as browser:
        yield browser


def give(client: Browser, run: Path, image: bytes, origin: str | None = "own") -> tuple[int, str]:
    """Send an image as the page's script does."""
    headers = {"Origin": f"http://127.0.0.1:{client.port}" if origin == "own" else origin} if origin else {}
    answer = client.get(f"{address(client)}/model/image", "POST", data=image, headers=headers)
    return answer.status_code, answer.text


def address(client: Browser) -> str:
    return str(client.get("/").headers["location"])


def test_what_is_said_is_what_the_model_gives_and_nothing_stays(
    client: Browser, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dropped, "_MEMORY", tmp_path / "memory")
    (tmp_path / "memory").mkdir()
    film = dicom(picture(40).astype(np.uint16) << 4, CR, BitsStored=12, HighBit=11)
    (tmp_path / "film").write_bytes(film)
    card = load_card(run / "model.keras")
    pixels = read_image(tmp_path / "film", card.image_size)[None, ..., None] / np.float32(255)
    score = float(sigmoid(load_logits(run / "model.keras", pixels.astype(np.float32)))[0, 0])
    status, page = give(client, run, film)
    assert status == 200
    assert f"{score:.4f}" in Links(page).words
    assert ("called" if score >= card.thresholds[0] else "not called") in Links(page).words
    assert "Not for diagnosis" in page
    (drawn,) = re.findall(r'src="(/runs/[^"]+/model/images/[^"]+)"', page)
    shown = client.get(drawn)
    assert shown.headers["content-type"] == "image/png"
    with Image.open(BytesIO(shown.content)) as heat_map:
        assert heat_map.width > 2 * card.image_size
    assert not any((tmp_path / "memory").iterdir())
    status, page = give(client, run, encoded(picture(41))[:60])
    assert status == 200
    assert "This file could not be read: it is damaged or truncated." in Links(page).words
    assert client.get(drawn).status_code == 404, "a heat map is there until the next image"
    assert not any((tmp_path / "memory").iterdir())


@pytest.mark.parametrize("origin", [None, "null", "http://elsewhere.example", "http://127.0.0.1:1"])
def test_pages_from_elsewhere_give_no_image(
    client: Browser, run: Path, origin: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(application, "told_of", lambda *_: pytest.fail("it was looked at"))
    assert give(client, run, encoded(picture(42)), origin)[0] == 403
    with served(run, known=False) as stranger:  # knows an address, and has no token
        place, own = f"{address(client)}/model/image", {"Origin": f"http://127.0.0.1:{stranger.port}"}
        assert stranger.get(place, "POST", data=b"x", headers=own).status_code == 403


def test_too_large_a_file_and_a_second_one_meanwhile_are_refused(
    client: Browser, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    met: list[int] = []

    def meanwhile(_run: Path, _image: bytes) -> dropped.Told:
        met.append(give(client, run, b"second")[0])
        return dropped.Told(problem="It was looked at.")

    monkeypatch.setattr(application, "MOST_BYTES", 1_000)
    monkeypatch.setattr(application, "told_of", meanwhile)
    assert give(client, run, bytes(1_001))[0] == 413
    assert not met
    status, page = give(client, run, bytes(1_000))
    assert (status, met) == (200, [409])
    assert "It was looked at." in Links(page).words
    assert give(client, run, b"third")[0] == 200
