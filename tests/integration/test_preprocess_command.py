"""`python data_preprocessing.py SOURCE OUT`, as a user runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from sample_images import KEY, class_folders, data_settings

import data_preprocessing
from data_preprocessing import PreparedData, load_partition, partition_digest, preprocess, write_partitions
from fedward.errors import ResourceError, UsageError

SCRIPT = Path(__file__).resolve().parents[2] / "data_preprocessing.py"


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, timeout=120)


def test_writes_partitions_manifest_and_report(tmp_path: Path) -> None:
    source, out, key = class_folders(tmp_path / "data", {"no": 12, "yes": 12}), tmp_path / "out", tmp_path / "key"
    options = ["--hospitals", "2", "--image-size", "16", "--seed", "7", "--key-file", str(key)]
    done = command(str(source), str(out), *options)
    assert done.returncode == 0, done.stderr
    manifest = json.loads(done.stdout)
    assert manifest == json.loads((out / "manifest.json").read_text())
    assert manifest["seed"] == 7
    for hospital in ("hospital-1", "hospital-2"):
        partition = load_partition(out / f"{hospital}.npz")
        assert partition_digest(partition).hex() == manifest["hospitals"][hospital]["sha256"]
    assert key.stat().st_mode & 0o077 == 0
    again = command(str(source), str(tmp_path / "again"), *options)
    assert again.stdout == done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nowhere", "out"], 3, "no file or folder nowhere"),
        (["synthetic", "used"], 2, "used is in use"),
        (["synthetic", "out", "--hospitals", "0"], 2, "data.hospitals"),
        (["synthetic", "out", "--partition", "fair"], 2, "iid, dirichlet, by-column"),
    ],
)
def test_errors_are_one_sentence_and_a_code(arguments: list[str], code: int, words: str, tmp_path: Path) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").write_text("mine")
    done = subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == code
    assert words in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "out").exists()


def test_partitions_that_are_to_be_sealed_are_not_written_in_the_clear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source, config = class_folders(tmp_path / "data", {"no": 12, "yes": 12}), tmp_path / "settings.toml"
    config.write_text('[image-encryption]\nmethod = "fgsm"\n')
    done = command(str(source), str(tmp_path / "out"), "--config", str(config))
    assert done.returncode == 2
    assert "would lie in the clear" in " ".join(done.stderr.split())
    assert not (tmp_path / "out").exists()
    shown = command(str(source), str(tmp_path / "out"), "--config", str(config), "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert not (tmp_path / "cache" / "fedward").exists(), "nothing decoded is kept either"
    assert command(str(source), str(tmp_path / "out"), "--dry-run").returncode == 0
    assert (tmp_path / "cache" / "fedward").exists(), "the control"


@pytest.fixture
def prepared(tmp_path: Path) -> PreparedData:
    return preprocess(data_settings(class_folders(tmp_path / "data", {"no": 12, "yes": 12})), 1, KEY)


def test_a_disk_that_fills_up_leaves_nothing(
    prepared: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes, mode: int) -> None:
        raise ResourceError(f"{path} could not be written: no space.", "Free some.")

    monkeypatch.setattr(data_preprocessing, "write_atomic", full)  # the partitions are written by then
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ResourceError):
        write_partitions(tmp_path / "out", prepared)
    assert sorted(tmp_path.rglob("*")) == before


def test_nothing_half_written_is_left(prepared: PreparedData, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ResourceError, match="could not be written"):
        write_partitions(tmp_path / "file" / "out", prepared)
    with pytest.raises(UsageError, match="in use"):
        write_partitions(tmp_path / "file", prepared)
    assert sorted(tmp_path.rglob("*")) == before
