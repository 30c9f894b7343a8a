"""Pictures of the test split: whole PNGs for whatever data, and the figures are on them."""

from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from fedward.figures.plots import as_png, plot_all, plot_confusion, plot_reliability, roc_band
from fedward.figures.scores import Confusion, score
from fedward.types import ImageSet, Vector

pytestmark = pytest.mark.slow

PICTURES = ("confusion_matrix.png", "roc.png", "reliability.png")


def sample(n: int, findings: int = 1, share: float = 0.4, shift: float = 1.5) -> tuple[ImageSet, Vector]:
    rng = np.random.default_rng(n)
    labels = (rng.random((n, findings)) < share).astype(np.float32)
    patients = np.array([f"p{index // 3}" for index in range(n)])
    return ImageSet(np.zeros((n, 2, 2), np.uint8), labels, patients), rng.normal(shift * labels, 1).astype(np.float32)


def drawn(folder: Path, images: ImageSet, logits: Vector, *thresholds: float) -> dict[str, bytes]:
    findings = tuple(f"finding {index}" for index in range(logits.shape[1]))
    plot_all(
        folder, images, logits, score(images, logits, thresholds or 0.5), findings, thresholds or (0.5,) * len(findings)
    )
    pixels = {}
    for name in PICTURES:
        with Image.open(folder / name) as picture:
            assert picture.format == "PNG"
            assert len(picture.convert("L").getcolors() or []) > 10  # there is something on it
            pixels[name] = picture.convert("RGB").tobytes()
    return pixels


@pytest.mark.parametrize(("n", "findings", "share"), [(90, 1, 0.4), (90, 14, 0.1), (90, 20, 0.4), (9, 1, 0.0),
                                                      (9, 1, 1.0), (1, 1, 1.0), (2, 3, 0.0)])  # fmt: skip
def test_the_pictures_are_pictures_for_whatever_data(n: int, findings: int, share: float, tmp_path: Path) -> None:
    drawn(tmp_path, *sample(n, findings, share))


def test_the_same_figures_give_the_same_pictures_and_others_others(tmp_path: Path) -> None:
    first, again = drawn(tmp_path, *sample(90)), drawn(tmp_path, *sample(90))
    assert first == again
    better = drawn(tmp_path, *sample(90, shift=4.0))
    assert all(first[name] != better[name] for name in PICTURES)


@pytest.mark.parametrize("findings", [1, 3])
def test_decisions_are_drawn_at_each_findings_threshold(findings: int, tmp_path: Path) -> None:
    base = drawn(tmp_path, *sample(90, findings), *[0.5] * findings)
    for moved in range(findings):
        thresholds = [0.5] * findings
        thresholds[moved] = 0.8
        other = drawn(tmp_path, *sample(90, findings), *thresholds)
        assert {name for name in PICTURES if other[name] != base[name]} == {"confusion_matrix.png", "roc.png"}


def test_confusion_and_calibration_show_each_of_their_figures(tmp_path: Path) -> None:
    def picture(confusion: Confusion) -> bytes:
        plot_confusion(tmp_path / "c.png", confusion, 0.5, ("f",))
        return (tmp_path / "c.png").read_bytes()

    first = (8, 1, 7, 2)
    others = [(*first[:place], first[place] + 1, *first[place + 1 :]) for place in range(4)]
    shown = {picture(Confusion(*counts)) for counts in (first, *others)}
    assert len(shown) == 5
    scores, truth = np.array([[0.1], [0.9]]), np.array([[False], [True]])
    plot_reliability(tmp_path / "a.png", scores, truth, 0.1, ("a",))
    plot_reliability(tmp_path / "b.png", scores, ~truth, 0.1, ("a",))
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize(("findings", "title"), [(1, "(ECE 0.123)"), (3, "(mean ECE of the findings 0.123)")])
def test_the_title_says_which_calibration_error_it_is(findings: int, title: str, tmp_path: Path) -> None:
    """Of several findings the curve pools all pairs, and the figure is a mean."""
    images, logits = sample(90, findings)
    with mock.patch("fedward.figures.plots.save_figure") as save:
        plot_reliability(
            tmp_path / "r.png", logits.clip(0, 1).astype(float), images.labels == 1, 0.123, ("a", "b", "c")[:findings]
        )
    positive = "positive: a" if findings == 1 else "positive: each of 3 findings"
    upper, lower = save.call_args.args[1].axes
    assert upper.get_title() == f"Calibration on the test split {title}\n{positive}"
    as_png(lower.figure)
    assert {each.get_text() for each in lower.get_yticklabels()} <= {"0.1", "1", "10", "100", "1000"}, "no formulas"


def test_the_band_does_not_depend_on_the_names_of_patients() -> None:
    images, logits = sample(90)
    renamed = ImageSet(images.images, images.labels, np.array([name[::-1] for name in images.patients]))
    grid = np.linspace(0, 1, 21)
    assert np.array_equal(roc_band(images, logits[:, 0], grid), roc_band(renamed, logits[:, 0], grid))


def test_the_band_holds_the_curve_and_narrows_with_more_patients() -> None:
    grid = np.linspace(0, 1, 21)
    widths = []
    for n in (90, 3_000):
        images, logits = sample(n)
        low, high = roc_band(images, logits[:, 0], grid)
        assert np.all(low <= high)
        assert np.all((low >= 0) & (high <= 1))
        positive = np.sort(logits[images.labels[:, 0] == 1, 0])
        cut = np.quantile(logits[images.labels[:, 0] == 0, 0], 0.75)  # false positive rate of one quarter
        assert low[5] <= np.mean(positive > cut) <= high[5]
        widths.append(float(np.mean(high - low)))
    assert widths[1] < widths[0] / 3


def test_ticks_of_logarithmic_axes_are_numbers() -> None:
    """Formulas are off, since names from data stay as they are: a power of ten would show as its formula."""
    figure = Figure()
    axes = figure.subplots()
    axes.plot([1, 100, 10_000], [1e-14, 1e-3, 10])
    axes.set(xscale="log", yscale="log")
    as_png(figure)
    told = [label.get_text() for axis in (axes.xaxis, axes.yaxis) for label in axis.get_ticklabels()]
    assert "100" in told
    assert not any("$" in text for text in told)
