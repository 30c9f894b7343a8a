"""The hospitals' page of `main.py view`: each beside the others and alone, and what is missing."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from shared_runs import SharedRuns
from viewing import HOSTILE, Browser, Links, rewrite, served

from commands.view.shelf import read_run


@pytest.fixture(scope="module")
def run(shared_runs: SharedRuns) -> Path:
    """A finished run of two private rounds, to read."""
    return shared_runs.concluded() / "run"


@pytest.fixture(scope="module")
def page(run: Path) -> Iterator[str]:
    with served(run) as browser:
        yield shown(browser, run)


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "copy"))


def shown(browser: Browser, run: Path) -> str:
    answer = browser.get(f"/runs/{read_run(run).key}/hospitals")
    assert answer.status_code == 200
    assert "script" not in Links(answer.text).tags
    return answer.text


def rows(page: str, heading: str) -> dict[str, list[str]]:
    """Cells of the table below a heading, by the first of each row."""
    table = page.partition(heading)[2].partition("</table>")[0]
    found = {}
    for row in re.findall("<tr>(.*?)</tr>", table, re.DOTALL):
        cells = [" ".join(Links(cell).words).strip() for cell in re.findall("<td.*?>(.*?)</td>", row, re.DOTALL)]
        if cells:
            found[cells[0]] = cells[1:]
    return found


def told(scores: dict[str, Any], name: str) -> str:
    if scores[name] is None:
        return "undefined"
    interval = scores["intervals"][name]
    return f"{scores[name]:.3f} " + (f"({interval[0]:.3f} to {interval[1]:.3f})" if interval else "(no interval)")


def test_each_hospital_has_its_own_figures(page: str, run: Path) -> None:
    scores = json.loads((run / "summary.json").read_bytes())["scores"]["hospitals"]
    table = rows(page, "own test images")
    assert set(table) == set(scores) == {str(member.hospital) for member in read_run(run).record.roster}
    for name, found in scores.items():
        cells = table[name]
        assert cells[1:4] == [str(found["n"]), str(found["patients"]), str(found["positives"])]
        assert cells[5:] == [told(found, figure) for figure in ("auc", "recall", "specificity", "accuracy")]


def test_parts_in_rounds_are_the_ledgers(page: str, run: Path) -> None:
    ledger = json.loads((run / "summary.json").read_bytes())["ledger"]
    table = [[int(cell) for cell in cells] for cells in rows(page, "In rounds").values()]
    committed, added, _, votes_for, against = (sum(column) for column in zip(*table, strict=True))
    assert committed == ledger["submissions"]
    assert votes_for + against == ledger["votes"]
    lines = [json.loads(line) for line in (run / "server" / "metrics.jsonl").read_text().splitlines()]
    assert votes_for == sum(line["accepts"] for line in lines)
    assert added == sum(line["submitted"] for line in lines)


def test_a_run_without_baselines_says_how_to_have_them(page: str) -> None:
    assert "begin one with simulate --baselines" in page


def test_models_alone_stand_beside_the_shared_one(copy: Path) -> None:
    def change(summary: Any) -> None:
        pooled = summary["scores"]["pooled"]
        pooled |= {"auc": 0.9, "intervals": pooled["intervals"] | {"auc": [0.8, 0.95]}}
        first, second, *_ = summary["scores"]["hospitals"]
        local = {
            first: {"train_n": 20, "scores": pooled | {"auc": 0.75}, "reason": None, "seconds": 1.0},
            second: {"train_n": 3, "scores": None, "reason": HOSTILE, "seconds": None},
        }
        summary["baselines"] = {"local": local, "central": {"train_n": 90, "scores": pooled, "reason": None}}

    rewrite(copy / "summary.json", change)
    with served(copy) as browser:
        page = shown(browser, copy)
    table = rows(page, "Against training alone")
    names = [f"{member.hospital} alone" for member in read_run(copy).record.roster]
    assert list(table) == ["the shared model", "all images in one place", *names]
    assert table["the shared model"][2:4] == ["0.900 (0.800 to 0.950)", ""]
    assert table[names[0]][0] == "20"
    assert table[names[0]][2:4] == ["0.750 (0.800 to 0.950)", "+0.1500"]
    assert table[names[1]] == ["3", HOSTILE]
    assert table[names[2]] == ["", "not trained"]
    assert "AUC from 0.7 to 1" in page


def test_a_run_that_goes_on_or_has_a_hostile_hospital_is_shown_too(copy: Path) -> None:
    rewrite(copy / "server" / "run.json", lambda fields: fields["roster"][0].update(hospital=HOSTILE))
    with served(copy) as browser:
        table = rows(shown(browser, copy), "own test images")
        assert table[HOSTILE][1] == "no figures of this hospital in the run's summary"
        (copy / "summary.json").unlink()
        page = shown(browser, copy)
    assert "nothing is known of them yet" in page
    assert "trained after the last round" in page
    assert HOSTILE in Links(page).words
