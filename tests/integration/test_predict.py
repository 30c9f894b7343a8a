"""`main.py predict` from end to end, on files of every kind, with a model file and with a run's folder."""

import csv
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from command_line import Done, run_here
from documents import block, shape
from PIL import Image
from sample_images import CR, dicom, encoded, picture, write

from fedward import settings as setting
from fedward.dataset.phantoms import list_phantoms
from fedward.dataset.reading import decode
from fedward.explaining.picture import GAP
from fedward.explaining.unlike import INVERTED, UPSIDE_DOWN
from fedward.figures.calibration import calibrations
from fedward.figures.histograms import histogram, sigmoid
from fedward.folders.hospital import HospitalFolder
from fedward.folders.round_counts import CountsFolder, PlainCounts, RoundCounts
from fedward.folders.server import RunRecord, ServerFolder
from fedward.learning.model import Classifier
from fedward.learning.model_file import load_logits, save_model
from fedward.learning.stored_model import ModelCard
from fedward.types import Address, HospitalId, Member

SIZE = 32
CLASSES = ("CLEAR", "BLURRED")
FINDING = CLASSES[1]
Told = dict[str, Any]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of several kinds in folders, some of them bad; a model that calls half of them; and a run's folder."""
    root = tmp_path_factory.mktemp("place")
    images = root / "images"
    for number in range(4):
        write(images / "plain" / f"{number}.png", encoded(picture(number)))
    write(images / "photo.jpg", encoded(picture(10), "JPEG"))
    write(images / "scan.tif", encoded(picture(11), "TIFF"))
    write(images / "deeper" / "film", dicom((picture(12).astype(np.uint16) << 4), CR, BitsStored=12, HighBit=11))
    write(images / "broken.png", encoded(picture(13))[:60])
    write(images / "volume.nii", b"n+1")
    write(images / "notes.txt", b"no image, and not named like one")
    write(images / ".hidden.png", encoded(picture(14)))
    settings = setting.load(None, ("data.image-size", SIZE), ("model.name", "cnn"))
    spec = ModelCard.of(settings, (FINDING,), CLASSES, (0.5,)).spec
    classifier = Classifier(spec, 3)
    pixels = np.stack([decode(path.read_bytes(), SIZE).image for path in readable(root)])[..., None] / np.float32(255)
    logits = classifier.logits(pixels.astype(np.float32))
    rng = np.random.default_rng(1)
    scattered = np.concatenate([logits, rng.normal(logits.mean(), logits.std(), (40, 1))]).astype(np.float32)
    labels = (scattered + rng.normal(0, scattered.std(), scattered.shape) > np.median(scattered)).astype(np.float32)
    counts = histogram(scattered, labels)
    save_model(root / "model.keras", classifier, ModelCard.of(settings, (FINDING,), CLASSES, counts.thresholds()))
    founded(root / "run", root / "model.keras", settings, counts)
    return root


def founded(run: Path, model: Path, settings: setting.Settings, counts: Any) -> None:
    """A run's folder, as far as `predict` reads it."""
    server, address = ServerFolder(run / "server"), Address("0x" + "1" * 40)
    server.path.mkdir(parents=True)
    shutil.copy(model, run / "model.keras")
    server.save_record(
        RunRecord(
            "run",
            "",
            {},
            setting.to_tables(settings),
            "",
            "",
            (FINDING,),
            CLASSES,
            1,
            Address("0x" + "2" * 40),
            (Member(HospitalId("hospital-1"), address, counts.n),),
            (),
            "",
        )
    )
    for index, phase in ((1, "accepted"), (2, "rejected")):
        server.log_round({"round": index, "phase": phase})
    CountsFolder(server.path / "counts").save(1, RoundCounts({address: PlainCounts.of(counts)}, {}, ()))


def readable(root: Path) -> list[Path]:
    found = (path for path in (root / "images").rglob("*") if path.is_file() and not path.name.startswith("."))
    return [path for path in sorted(found) if path.name not in ("broken.png", "volume.nii", "notes.txt")]


def told(*arguments: "str | Path") -> tuple[Done, Told]:
    done = run_here("predict", *arguments, "--json")
    assert "Traceback" not in done.stderr
    return done, json.loads(done.stdout)


def test_every_image_has_the_models_score_and_bad_files_are_named(place: Path) -> None:
    done, found = told(place / "model.keras", place / "images")
    assert done.returncode == 3
    assert {Path(each["image"]).name for each in found["unreadable"]} == {"broken.png", "volume.nii"}
    assert "2 of 9 files could not be read" in done.stderr
    assert "its format is not read here (.nii)" in done.stderr
    assert {each["image"] for each in found["images"]} == {str(path) for path in readable(place)}
    limit = found["thresholds"][FINDING]
    for each in found["images"]:
        square = decode(Path(each["image"]).read_bytes(), SIZE).image[None, ..., None] / np.float32(255)
        score = float(sigmoid(load_logits(place / "model.keras", square.astype(np.float32)))[0, 0])
        said = each["findings"][FINDING]
        assert said["score"] == pytest.approx(score, abs=1e-6)
        assert said["probability"] == pytest.approx(score, abs=1e-6), "a model file alone calibrates nothing"
        assert said["called"] == (np.float32(said["score"]) >= np.float32(limit))
    assert len({each["findings"][FINDING]["called"] for each in found["images"]}) == 2
    assert found["calibration"].startswith("Not calibrated")


def test_a_run_folder_calibrates_on_the_validation_counts_of_its_last_accepted_round(place: Path) -> None:
    done, found = told(place / "run", place / "images" / "plain")
    assert done.returncode == 0
    assert "Platt scaling on 47 validation images" in found["calibration"]
    kept = CountsFolder(place / "run" / "server" / "counts").load(1)
    assert kept is not None
    pooled = kept.pooled(dict.fromkeys(kept.plain, 47))
    assert pooled is not None
    (line,) = calibrations(pooled)
    assert line is not None
    for each in found["images"]:
        said = each["findings"][FINDING]
        logit = np.log(said["score"] / (1 - said["score"]))
        assert said["probability"] == pytest.approx(
            float(line.probabilities(np.array([logit], np.float32))[0]), abs=1e-4
        )
    _, plain = told(place / "model.keras", place / "images" / "plain")
    decisions = [[each["findings"][FINDING]["called"] for each in one["images"]] for one in (found, plain)]
    assert decisions[0] == decisions[1], "calibration changes no decision"


def test_a_folder_with_a_model_and_no_counts_calibrates_nothing(place: Path, tmp_path: Path) -> None:
    shutil.copy(place / "model.keras", tmp_path)
    _, found = told(tmp_path, place / "images" / "plain")
    assert found["calibration"].startswith("Not calibrated")
    assert all(each["findings"][FINDING]["probability"] < 1 for each in found["images"])


def test_pictures_lie_in_a_new_folder_and_show_what_speaks_for_the_finding(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "pictures"
    done, found = told(place / "model.keras", place / "images", "--explain", out)
    assert done.returncode == 3
    named = {Path(each["image"]): each["explanation"] for each in found["images"]}
    assert {path.name for path in out.iterdir()} == {each["picture"] for each in named.values()}
    assert out.stat().st_mode & 0o077 == 0
    for path, each in named.items():
        assert (each["finding"], each["problem"]) == (FINDING, "")
        assert not (out / each["picture"]).stat().st_mode & 0o077
        assert path.stem not in each["picture"] or path.stem.isdigit(), "names of files may name patients"
    png = Image.open(out / named[place / "images" / "photo.jpg"]["picture"])
    assert "Not for diagnosis" in png.info["Description"]
    left, right = shown_panels(np.asarray(png))
    assert np.ptp(left, axis=2).max() == 0, "the image itself is gray"
    assert np.ptp(right, axis=2).max() > 30
    square = decode((place / "images" / "photo.jpg").read_bytes(), SIZE).image
    small = np.asarray(Image.fromarray(left[..., 0]).resize((SIZE, SIZE), Image.Resampling.LANCZOS), np.float64)
    assert np.abs(small - square).mean() < 3


def shown_panels(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The image and its heat, without the text below: the images here are three quarters as high as wide."""
    width = (picture.shape[1] - GAP) // 2
    height = round(width * 24 / 32)
    return picture[:height, :width], picture[:height, width + GAP :]


def test_for_dicom_a_picture_is_a_secondary_capture_without_patient_data(place: Path, tmp_path: Path) -> None:
    pixels = picture(12).astype(np.uint16) << 4
    fields = {
        "PatientName": "Doe^Jane",
        "PatientID": "MRN-77",
        "StudyDate": "20260102",
        "InstitutionName": "St. Elsewhere",
    }
    source = write(tmp_path / "MRN-77.dcm", dicom(pixels, CR, BitsStored=12, HighBit=11, **fields))
    burned = write(tmp_path / "burned.dcm", dicom(pixels + 16, CR, BitsStored=12, HighBit=11, BurnedInAnnotation="YES"))
    uids = set()
    for turn in ("first", "second"):
        done, found = told(place / "model.keras", source, burned, "--explain", tmp_path / turn)
        assert done.returncode == 0
        assert "burned into its pixels" in found["images"][1]["explanation"]["problem"]
        assert [path.name for path in (tmp_path / turn).iterdir()] == ["0001.dcm"]
        content = (tmp_path / turn / "0001.dcm").read_bytes()
        for word in (b"Doe", b"MRN-77", b"20260102", b"Elsewhere", b"1.2.3.4"):
            assert word not in content
        made = pydicom.dcmread(tmp_path / turn / "0001.dcm")
        assert made.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7"
        assert list(made.ImageType) == ["DERIVED", "SECONDARY"]
        assert "Not for diagnosis" in made.DerivationDescription
        assert (made.PhotometricInterpretation, made.PatientName, made.StudyDate) == ("RGB", "", "")
        shown = made.pixel_array
        assert np.ptp(shown_panels(shown)[1], axis=2).max() > 30
        uids |= {
            made.SOPInstanceUID,
            made.StudyInstanceUID,
            made.SeriesInstanceUID,
            made.file_meta.MediaStorageSOPInstanceUID,
        }
    assert len(uids) == 6
    assert all(uid.startswith("2.25.") and uid.is_valid for uid in uids)


def test_pictures_are_all_there_or_none(place: Path, tmp_path: Path) -> None:
    used = tmp_path / "used"
    write(used / "there.txt", b"")
    done = run_here("predict", place / "model.keras", place / "images" / "plain", "--explain", used)
    assert (done.returncode, done.stdout) == (2, "")
    assert "is in use. Choose a new folder with --explain" in done.stderr
    closed = tmp_path / "file"
    closed.write_bytes(b"")
    done = run_here("predict", place / "model.keras", place / "images" / "plain", "--explain", closed / "inner")
    assert done.returncode == 10
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["file", "used"]


def test_where_images_are_kept_sealed_a_warning_says_that_pictures_lie_open(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "run", tmp_path / "run")
    for turn, warned in (("open", False), ("sealed", True)):
        done = run_here("predict", tmp_path / "run", place / "images" / "photo.jpg", "--explain", tmp_path / turn)
        assert done.returncode == 0
        assert ("these pictures lie open" in " ".join(done.stderr.split())) is warned
        write(HospitalFolder(tmp_path / "run" / "hospitals" / "hospital-1").sealed_partition, b"sealed")


def test_images_that_are_no_upright_chest_x_rays_are_marked(place: Path, tmp_path: Path) -> None:
    chest = np.asarray(list_phantoms(1, 64, 3).pixels)[0]
    turned = {"upright": chest, "down": chest[::-1, ::-1], "negative": 255 - chest}
    for name, pixels in turned.items():
        write(tmp_path / "x" / f"{name}.png", encoded(np.ascontiguousarray(pixels)))
    done, found = told(place / "model.keras", tmp_path / "x", "--csv", tmp_path / "out.csv")
    assert done.returncode == 0, "a warning, no error"
    marked = {Path(each["image"]).stem: each["unlike"] for each in found["images"]}
    assert marked == {"upright": "", "down": UPSIDE_DOWN, "negative": INVERTED}
    assert "2 of 3 images are unlike an upright chest X-ray" in " ".join(done.stderr.split())
    rows = csv.DictReader((tmp_path / "out.csv").read_text().splitlines())
    assert {Path(row["image"]).stem: row["unlike"] for row in rows} == marked
    lines = run_here("predict", place / "model.keras", tmp_path / "x").stdout.splitlines()
    assert [line.partition("  unlike: ")[2] for line in lines[1:]] == [marked[name] for name in sorted(marked)]


def test_counts_that_are_not_this_models_are_refused(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "run", tmp_path / "run")
    kept = CountsFolder(tmp_path / "run" / "server" / "counts")
    rng = np.random.default_rng(5)
    others = histogram(rng.normal(50, 1, (47, 1)).astype(np.float32), (rng.random((47, 1)) < 0.5).astype(np.float32))
    kept.save(1, RoundCounts({Address("0x" + "1" * 40): PlainCounts.of(others)}, {}, ()))
    done = run_here("predict", tmp_path / "run", place / "images" / "plain")
    assert done.returncode == 8
    assert "are not those that this model's thresholds were chosen by" in done.stderr


def test_a_line_an_image_and_nothing_that_moves_the_cursor(place: Path, tmp_path: Path) -> None:
    odd = "=HYPERLINK\x1b[31m[bold]\u202e.png"
    write(tmp_path / odd, encoded(picture(1)))
    write(tmp_path / os.fsdecode(b"\xff.png"), encoded(picture(2)))
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        done = run_here("predict", place / "model.keras", *sorted(Path().iterdir()), "--csv", "out.csv")
    finally:
        os.chdir(before)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert lines[0].split() == ["image", "probability", "decision"]
    assert "[bold]" in done.stdout
    assert not {"\x1b", "\u202e"} & set(done.stdout)
    assert "Not for diagnosis" in done.stderr
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    assert [row["image"][:3] for row in rows] == ["./=", "\N{REPLACEMENT CHARACTER}.p"]
    assert all(0 < float(row[f"probability of {FINDING}"]) < 1 and not row["unreadable"] for row in rows)
    assert (tmp_path / "out.csv").stat().st_mode & 0o077 == 0


def test_what_cannot_be_done_is_said_in_one_sentence(place: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    there = write(tmp_path / "there.csv", b"")
    cases: tuple[tuple[tuple[object, ...], int, str], ...] = (
        ((tmp_path / "none.keras", place / "images"), 3, "none.keras"),
        ((empty, place / "images"), 3, "model.keras"),
        ((place / "model.keras", empty), 3, "There are no images"),
        ((place / "model.keras", tmp_path / "gone.png"), 3, "There is no file or folder"),
        ((place / "model.keras", place / "images", "--csv", there), 2, "is there already"),
        ((place / "model.keras", place / "images", "--csv", tmp_path / "no" / "a.csv"), 2, "There is no folder"),
    )
    for arguments, code, sentence in cases:
        done = run_here("predict", *map(str, arguments))
        assert (done.returncode, done.stdout) == (code, "")
        assert sentence in done.stderr
        assert "Traceback" not in done.stderr
    assert there.read_bytes() == b""


def test_only_bad_files_still_tell_which(place: Path) -> None:
    done, found = told(place / "model.keras", place / "images" / "notes.txt", place / "images" / "broken.png")
    assert done.returncode == 3
    assert found["images"] == []
    assert len(found["unreadable"]) == 2


def test_what_of_a_file_is_not_used_is_told(place: Path, tmp_path: Path) -> None:
    frames = np.stack([picture(30), picture(31)])
    write(tmp_path / "two.dcm", dicom(frames, CR, NumberOfFrames=2))
    done = run_here("predict", place / "model.keras", tmp_path / "two.dcm")
    assert done.returncode == 0
    assert "two.dcm is used: " in " ".join(done.stderr.split())


def test_readme_shows_what_is_printed(place: Path) -> None:
    """Its lines, but for figures and names. The README's images are all readable; here one is not."""
    files = [place / "images" / name for name in ("photo.jpg", "broken.png")]
    done = run_here("predict", place / "run", *files)
    sample = block("Probabilities are calibrated by ")
    shapes = {shape(line.replace("PNEUMONIA", FINDING)) for line in sample}
    told = [line for line in done.stderr.splitlines() if not line.startswith(("Error", "Warning", "Reading"))]
    assert len(told) == 3
    assert {shape(line) for line in told} <= shapes
    heading, _, broken = done.stdout.splitlines()
    assert shape(heading) == shape(sample[0])
    assert broken.partition("  ")[2].strip() == "unreadable: it is damaged or truncated"
    assert "the others were scored. Replace these files, or leave them out." in " ".join(done.stderr.split())
