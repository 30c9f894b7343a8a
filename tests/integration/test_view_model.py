"""The model's page of `main.py view`: its figures are what the run's counts give, whatever is missing or hostile."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest
from shared_runs import SharedRuns
from sklearn.metrics import confusion_matrix, roc_auc_score
from viewing import HOSTILE, Browser, Links, rewrite, served

from commands.view.shelf import read_run
from fedward.figures.histograms import THRESHOLDS

COUNTS = Path("server", "counts", "round-0002.json")


@pytest.fixture(scope="module")
def run(shared_runs: SharedRuns) -> Path:
    """A finished run of two private rounds, to read."""
    return shared_runs.concluded() / "run"


@pytest.fixture(scope="module")
def client(run: Path) -> Iterator[Browser]:
    with served(run) as browser:
        yield browser


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "copy"))


def place(run: Path, query: str = "") -> str:
    return f"/runs/{read_run(run).key}/model{query}"


def words(page: str) -> str:
    return re.sub(r"\s+", " ", " ".join(Links(page).words))


def threshold_in(told: str) -> float:
    found = re.search(r"From a score of ([0-9.]+) on", told)
    assert found
    return float(found[1])


def single_scores(run: Path, hospital: str | None = None) -> tuple[Any, Any]:
    """Bin of the score and truth of each validation image, as the file of counts says it."""
    addresses = {str(member.hospital): member.address for member in read_run(run).record.roster}
    bins, truth = [], []
    for address, kept in json.loads((run / COUNTS).read_bytes())["plain"].items():
        if hospital is None or addresses[hospital] == address:
            for label, name in ((1, "positives"), (0, "negatives")):
                for at, count in kept[name][0].items():
                    bins += [int(at)] * count
                    truth += [label] * count
    return np.array(bins), np.array(truth)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 1.0])
def test_figures_at_a_threshold_are_those_of_single_scores(client: Browser, run: Path, share: float) -> None:
    bins, truth = single_scores(run)
    edge = int(np.quantile(bins, share))
    page = client.get(place(run, f"?edge={edge}")).text
    called = bins >= edge
    (spared, alarms), (missed, caught) = confusion_matrix(truth, called, labels=[0, 1])
    told = words(page)
    assert threshold_in(told) == pytest.approx(THRESHOLDS[edge], abs=1e-4)
    assert f"on, {caught + alarms} of {len(bins)} images are called." in told
    assert f"with the finding {caught} {missed} without it {alarms} {spared}" in told.partition("any threshold")[2]
    for name, hits, cases in (("Sensitivity", caught, caught + missed), ("Specificity", spared, spared + alarms)):
        limits = binomtest(int(hits), int(cases)).proportion_ci(method="wilson")
        assert f"{name} {hits / cases:.3f} ({limits.low:.3f} to {limits.high:.3f}) {hits} of {cases}" in told
    assert f"AUC {roc_auc_score(truth, bins):.3f} (" in told.partition("ROC curve")[2]
    assert page == client.get(place(run, f"?threshold={float(THRESHOLDS[edge])!r}")).text, "a score that is typed"


def test_each_hospital_has_figures_of_its_own(client: Browser, run: Path) -> None:
    for number, member in enumerate(read_run(run).record.roster):
        bins, truth = single_scores(run, str(member.hospital))
        told = words(client.get(place(run, f"?edge=5000&hospital={number}")).text)
        caught, alarms = int((truth[bins >= 5000] == 1).sum()), int((truth[bins >= 5000] == 0).sum())
        assert f"on, {caught + alarms} of {len(bins)} images are called." in told
        row = told.partition(f"AUC {member.hospital} ")[2] if number == 0 else told.partition("By hospital")[2]
        assert f"{caught} of {(truth == 1).sum()} {alarms} of {(truth == 0).sum()}" in row


def test_without_a_wish_the_threshold_is_the_models_own(client: Browser, run: Path) -> None:
    summary = json.loads((run / "summary.json").read_bytes())
    told = words(client.get(place(run)).text)
    (found,) = summary["scores"]["findings"].values()
    assert threshold_in(told) == pytest.approx(found["threshold"], abs=1e-4)
    sides = found["confusion"]
    assert (
        f"with the finding {sides['true_positives']} {sides['false_negatives']} "
        f"without it {sides['false_positives']} {sides['true_negatives']}" in told.partition("any threshold")[0]
    )
    low, high = found["intervals"]["recall"]
    assert f"Sensitivity {found['recall']:.3f} ({low:.3f} to {high:.3f})" in told


@pytest.mark.parametrize(
    "query",
    ["?edge=-1", "?edge=99999", "?edge=1e3", "?threshold=nan", "?threshold=2", "?threshold=-inf", "?threshold=",
     "?hospital=77", "?hospital=x", "?finding=9", "?finding=-1", f"?finding={HOSTILE}&hospital={HOSTILE}"],
)  # fmt: skip
def test_wishes_that_mean_nothing_are_left_out(client: Browser, run: Path, query: str) -> None:
    assert client.get(place(run, query)).text == client.get(place(run)).text


def test_the_page_says_what_is_not_there(copy: Path) -> None:
    with served(copy) as client:
        kept = json.loads((copy / COUNTS).read_bytes())
        hidden = {address: ["ab" * 32] for address in kept["plain"]}
        (copy / COUNTS).write_text(json.dumps({"plain": {}, "encrypted": hidden, "total": []}))
        assert "encrypts validation counts" in words(client.get(place(copy)).text)
        (copy / COUNTS).unlink()
        (copy / "summary.json").unlink()
        told = words(client.get(place(copy)).text)
        assert "keeps no validation counts of round 2" in told
        assert "nothing is known of them yet" in told
        (copy / "server" / "metrics.jsonl").unlink()
        assert "No round was accepted yet" in words(client.get(place(copy)).text)


def test_one_image_of_one_class_has_no_curve_and_no_interval(copy: Path) -> None:
    def change(fields: Any) -> None:
        (first, *others) = fields["plain"].values()
        first |= {"positives": [{"6000": 1}], "negatives": [{}], "n": 1, "loss_sum": 0.1}
        for other in others:
            other |= {"positives": [{}], "negatives": [{}], "n": 0, "loss_sum": 0.0}

    rewrite(copy / COUNTS, change)
    with served(copy) as client:
        answer = client.get(place(copy, "?edge=5000"))
    assert answer.status_code == 200
    told = words(answer.text)
    assert "Sensitivity 1.000 (no interval) 1 of 1" in told
    assert "Specificity undefined 0 of 0" in told
    assert "all of one class" in told
    assert "nan" not in told.lower()


def test_counts_of_no_images_are_refused_in_a_sentence(copy: Path) -> None:
    rewrite(copy / COUNTS, lambda fields: next(iter(fields["plain"].values())).update(n=2**39))
    with served(copy) as client:
        answer = client.get(place(copy))
    assert answer.status_code == 500
    assert "cannot be those of any images" in answer.text


def test_hostile_names_are_text_on_it(copy: Path) -> None:
    def change(fields: Any) -> None:
        fields["findings"] = [HOSTILE]
        fields["roster"][0]["hospital"] = "hospital-0"

    rewrite(copy / "server" / "run.json", change)
    with served(copy) as client:
        answer = client.get(place(copy))
    assert answer.status_code == 200
    assert Links(answer.text).scripts == ["/scripts/threshold.js", "/scripts/drop.js"]
    assert HOSTILE in Links(answer.text).words


def test_only_scripts_of_ours_are_given_out(client: Browser) -> None:
    answer = client.get("/scripts/threshold.js")
    assert answer.headers["content-type"].startswith("text/javascript")
    for name in ("base.html", "style.css", "..%2Fpages.py", "threshold.js%00"):
        assert client.get(f"/scripts/{name}").status_code == 404
