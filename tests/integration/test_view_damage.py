"""Damaged files of a run on the pages of `main.py view`: one clear sentence that names the file, and no plain error."""

import html
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from shared_runs import SharedRuns
from viewing import Browser, rewrite, served

from commands.view.shelf import read_run

SUMMARY, RECORD, METRICS = "summary.json", "server/run.json", "server/metrics.jsonl"
COUNTS, CHAIN, LIST = "server/counts/round-0002.json", "ledger/chain.sqlite", "server/ciphertexts/round-0001.json"
PAGES = ("", "/model", "/hospitals", "/ledger", "/rounds/1")

Damage = Callable[[Path], object]


@pytest.fixture(scope="module")
def copy(shared_runs: SharedRuns, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two private rounds, to change."""
    return Path(shutil.copytree(shared_runs.concluded() / "run", tmp_path_factory.mktemp("damage") / "copy"))


@pytest.fixture(scope="module")
def client(copy: Path) -> Iterator[Browser]:
    with served(copy) as browser:
        yield browser


@contextmanager
def put_back(path: Path) -> Iterator[None]:
    """Have a file again as it was."""
    whole = path.read_bytes()
    try:
        yield
    finally:
        path.unlink()
        path.write_bytes(whole)


def text(content: str) -> Damage:
    return lambda path: path.write_text(content)


def fields(change: Callable[[Any], object]) -> Damage:
    return lambda path: rewrite(path, change)


def lines(change: Callable[[Any], object]) -> Damage:
    """Change the second line of metrics."""

    def damage(path: Path) -> None:
        first, second, *_ = path.read_text().splitlines()
        told = json.loads(second)
        change(told)
        path.write_text(f"{first}\n{json.dumps(told)}\n")

    return damage


def of_findings(**changes: Any) -> Damage:
    """Change each finding's figures in a summary; None takes one out."""

    def change(summary: Any) -> None:
        for figures in summary["scores"]["findings"].values():
            for name, value in changes.items():
                figures[name] = value
                if value is None:
                    del figures[name]

    return fields(change)


def of_line(**changes: Any) -> Damage:
    return lines(lambda told: told.update(changes))


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


DAMAGES: dict[str, tuple[str, Damage, str, str]] = {  # file, what is done to it, the page that shows it, the sentence
    "a summary that lacks all": (SUMMARY, fields(lambda it: it["scores"].clear() or it["scores"].update(a=1)),
                                 "/model", "summary.json is malformed: it lacks 'findings'"),
    "a summary without intervals": (SUMMARY, of_findings(intervals=None),
                                    "/model", "summary.json is malformed: it lacks 'intervals'"),
    "a summary whose confusion is a text": (SUMMARY, of_findings(confusion="x"),
                                            "/model", "summary.json is malformed: a value in it is of another kind"),
    "a summary without pooled figures": (SUMMARY, fields(lambda it: it["scores"].pop("pooled")),
                                         "", "summary.json is malformed: it lacks 'pooled'"),
    "baselines of another kind": (SUMMARY, fields(lambda it: it.update(baselines={"local": 3})),
                                  "", "summary.json is malformed: it lacks 'central'"),
    "a hospital's figures of another kind": (SUMMARY,
                                             fields(lambda it: it["scores"]["hospitals"]["hospital-1"].update(auc="x")),
                                             "/hospitals", "summary.json is malformed: a value in it"),
    "an epsilon that is a text": (SUMMARY, fields(lambda it: it["privacy"].update(epsilon="small")),
                                  "", "summary.json is malformed: a value in it"),
    "a summary that is a list": (SUMMARY, text("[1]"), "/model", "malformed: the whole must be an object"),
    "a summary that is no JSON": (SUMMARY, text("{"), "", "summary.json is no JSON"),
    "a summary that is a pipe": (SUMMARY, pipe, "", "not a regular file"),
    "a summary that is a link": (SUMMARY, link, "/hospitals", "a symbolic link lies there"),
    "a line that lacks its round": (METRICS, lines(lambda it: it.pop("round")), "", "Line 2 of"),
    "a line that is a number": (METRICS, text("1\n"), "/model", "malformed: the whole must be an object"),
    "a line with a loss in words": (METRICS, of_line(train_loss="low"), "/curves.png", "train_loss must be"),
    "a line with seconds in words": (METRICS, of_line(timing_s={"vote": "long"}), "/rounds/2", "timing_s"),
    "a line whose rejections are none": (METRICS, of_line(rejections=[{}]), "", "rejections"),
    "a record without settings": (RECORD, fields(lambda it: it["settings"].pop("training")), "/model",
                                  "it lacks training.rounds"),
    "a record without findings": (RECORD, fields(lambda it: it.update(findings=[])), "/model", "it lacks findings"),
    "a record whose contract is a name": (RECORD, fields(lambda it: it.update(contract="x")), "/ledger", "no address"),
    "a record of another kind": (RECORD, fields(lambda it: it.update(roster=5)), "", "roster must be"),
    "counts of another kind": (COUNTS, text('{"plain": 1}'), "/model", "The counts of round 2"),
    "a store that is none": (CHAIN, text("no database"), "/ledger", "is not a chain store"),
    "a store that is a pipe": (CHAIN, pipe, "/rounds/1", "no regular file"),
    "a list of ciphertexts of another kind": (LIST, text('{"aggregate": 1, "updates": {}}'), "/rounds/1", "malformed"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_a_sentence_on_every_page(client: Browser, copy: Path, name: str) -> None:
    key = read_run(copy).key
    file, damage, shown_on, sentence = DAMAGES[name]
    with put_back(copy / file):
        damage(copy / file)
        for page in dict.fromkeys((shown_on, *PAGES)):
            answer = client.get(f"/runs/{key}{page}")
            told = html.unescape(answer.text) if "html" in answer.headers["content-type"] else ""
            assert answer.status_code in (200, 404, 500)
            assert answer.status_code != 500 or "This cannot be shown" in told, page
            if page == shown_on:
                assert sentence in told
                assert answer.status_code == (200 if file == LIST else 500)
        assert client.get("/").status_code in (200, 303)


def test_a_picture_that_is_too_large_is_not_read(client: Browser, copy: Path) -> None:
    place = f"/runs/{read_run(copy).key}/pictures/roc.png"
    with put_back(copy / "roc.png"):
        os.truncate(copy / "roc.png", 2**30)
        answer = client.get(place)
        assert answer.status_code == 500
        assert "is longer than" in answer.text
        pipe(copy / "roc.png")
        assert client.get(place).status_code == 404
