"""The lab of leakage on a few drawn images: the planted leak is found, noise and ciphertexts give nothing."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from lab_units import in_this_process

from commands.lab import leakage
from commands.lab.leakage import Asked, run_lab
from commands.lab.leakage_tables import sheets
from fedward.errors import DataError, UsageError, VerificationError
from fedward.labs.leakage import summary as verdicts
from fedward.labs.leakage.obfuscations import NOISE_ONLY, PLAIN
from fedward.labs.leakage.plan import QUICK, Case
from fedward.labs.leakage.summary import LEAK, PASS, row_name

SMALL = ("data.synthetic-images=160", "data.image-size=32")
PLAN = dataclasses.replace(
    QUICK,
    cases=(Case(PLAIN), Case("clip-noise"), Case("ckks"), Case(PLAIN, batch=2, local_steps=2)),
    victims=5,  # one that is not named, or two, do not change a verdict, as they would of three
    attempts=1,
    steps=60,
    candidates=20,
    pairs=20,
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lab of one seed, run by the command."""
    path = tmp_path_factory.mktemp("lab") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leakage, "QUICK", PLAN)
        patch.setattr(leakage, "run_units", in_this_process)
        run_lab(path, Asked("synthetic", False, "", SMALL), "table")
    return path


@pytest.fixture(scope="module")
def summary(lab: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((lab / "summary.json").read_bytes())
    return found


def row(summary: dict[str, Any], obfuscation: str, model: str = "lenet", batch: int = 1) -> dict[str, Any]:
    wanted = {"obfuscation": obfuscation, "model": model, "batch": batch}
    (found,) = (row for row in summary["rows"] if wanted.items() <= row.items())
    return dict(found)


def test_the_planted_leak_is_found_exactly(summary: dict[str, Any]) -> None:
    planted = row(summary, PLAIN, "rows")
    assert planted["verdict"] == LEAK
    assert planted["best"]["psnr_db"] > 60
    assert planted["named"]["hits"] == planted["named"]["of"] == PLAN.victims


def test_noise_alone_clipped_updates_with_noise_and_ciphertexts_give_no_image(summary: dict[str, Any]) -> None:
    for name in (NOISE_ONLY, "clip-noise", "ckks"):
        found = row(summary, name)
        assert found["verdict"] == PASS, name
        assert found["best"]["psnr_db"] < found["prior"]["psnr_db"], name
        assert found["attempts"] == 2 * PLAN.victims * PLAN.attempts
        assert "2, L2, near the mean" in found["matchings"]
    assert row(summary, NOISE_ONLY, batch=2)["verdict"] == PASS, "starting near the mean X-ray is no leak"


def test_an_update_as_it_is_gives_its_image_away(summary: dict[str, Any]) -> None:
    found = row(summary, PLAIN)
    assert found["verdict"] == LEAK
    assert found["labels_read"]["hits"] == found["labels_read"]["of"]
    # Victims and starts are drawn anew, so a prior can be as near as what so few steps find; noise is far from both.
    assert found["best"]["psnr_db"] > row(summary, NOISE_ONLY)["best"]["psnr_db"] + 8
    assert row(summary, PLAIN, batch=2)["images_seen"] == 2


def test_all_is_written(lab: Path, summary: dict[str, Any]) -> None:
    for name in ("found-1.png", "rows.png", "table-1.csv", "table-2.csv"):
        assert (lab / name).stat().st_size > 100, name
    assert "knows the model" in summary["threat_model"]
    assert "attempts that failed" in summary["verdict"], "no PASS without the number of attempts"
    rows, _ = sheets(summary)
    assert [line[0] for line in rows.rows] == [row_name(each) for each in summary["rows"]]
    assert all(each["cleaned"] for each in summary["rows"])


def test_a_lab_that_misses_its_planted_leak_ends_in_an_error(
    lab: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A lab that always says PASS fails, and prints all the same."""
    monkeypatch.setattr(leakage, "QUICK", PLAN)
    monkeypatch.setattr(verdicts, "verdict_of", lambda *_: PASS)
    monkeypatch.setattr(leakage, "run_units", lambda *_: None)  # all was run
    with pytest.raises(VerificationError, match="fails its own controls: rows with none and batch 1 is PASS"):
        run_lab(lab, Asked("synthetic", False, "", SMALL), "json")
    assert json.loads(capsys.readouterr().out)["faults"]


@pytest.mark.parametrize(
    ("changes", "told"), [("data.image-size=30", "30 pixels"), ("privacy.mode=update", "adds noise itself")]
)
def test_settings_that_the_lab_cannot_take_are_refused(tmp_path: Path, changes: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        run_lab(tmp_path / "out", Asked("synthetic", False, "", (changes,)), "table")
    assert not (tmp_path / "out").exists()


def test_cases_are_chosen_by_name(tmp_path: Path) -> None:
    assert Asked("synthetic", False, "", (), "ckks,none").plan().cases == (Case(PLAIN), Case("ckks"))
    assert Asked("synthetic", True, "2", ()).plan().seeds == (2,)
    with pytest.raises(UsageError, match="no case 'ckk'"):
        run_lab(tmp_path / "out", Asked("synthetic", False, "", (), "ckk"), "table")


def test_too_few_patients_are_refused_before_anything_is_attacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leakage, "QUICK", dataclasses.replace(PLAN, cases=(Case(PLAIN), Case(PLAIN, batch=200))))
    monkeypatch.setattr(leakage, "run_units", lambda *_: pytest.fail("something was attacked"))
    with pytest.raises(DataError, match="200 at a time"):
        run_lab(tmp_path / "out", Asked("synthetic", False, "", SMALL), "table")
