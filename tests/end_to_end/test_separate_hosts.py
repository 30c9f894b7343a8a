"""A study on separate hosts: a server and four hospitals, each with files and a network of its own."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hosts import HOSPITALS, ROOT, admit, agree, found, hosts_in, may_make_namespaces
from soak import scaled

from fedward.learning.digest import weights_digest
from fedward.learning.stored_model import read_model

pytestmark = pytest.mark.end_to_end
ROUNDS = scaled(1, 3)  # each starts sixteen processes, which import TensorFlow
SETTINGS: dict[str, dict[str, object]] = {
    "data": {"image-size": 32},
    "training": {"rounds": ROUNDS, "local-epochs": 1},
    "detectors": {"validation-loss": {"tolerance": 100.0}},
}
IMAGES_OF_A_CLASS = 160


def few_images(source: Path, target: Path) -> Path:
    """Some of the real X-rays, in class folders: what matters here is not how good the model becomes."""
    for name in ("NORMAL", "PNEUMONIA"):
        (target / name).mkdir(parents=True)
        for path in sorted((source / "train" / name).iterdir())[:IMAGES_OF_A_CLASS]:
            shutil.copyfile(path, target / name / path.name)
    return target


def test_a_study_of_four_hospitals_on_real_images(tmp_path: Path, real_data: Path) -> None:
    source = few_images(real_data / "chest_xray", tmp_path / "source")
    prepare = [sys.executable, "data_preprocessing.py", str(source), str(tmp_path / "images")]
    subprocess.run([*prepare, "--hospitals", "4", "--image-size", "32"], cwd=ROOT, check=True, capture_output=True)
    with hosts_in(tmp_path, namespaces=may_make_namespaces()) as hosts:
        found(hosts, tmp_path / "images", SETTINGS)
        admit(hosts, HOSPITALS)
        agree(hosts, HOSPITALS)
        for name in HOSPITALS:
            hosts.start(name, "SuperNode")
        hosts.run("server", "start-study", hosts.server)
        standing = hosts.json("server", "status", hosts.server)
        assert standing["rounds"] == {"decided": ROUNDS, "wanted": ROUNDS}
        assert {one["status"] for one in standing["hospitals"]} == {"online"}
        ends = [hosts.json(name, "conclude", hosts.path / name) for name in HOSPITALS]
        for host in (*HOSPITALS, "server"):
            hosts.stop(host)
        assert {end["rounds"]["accepted"] for end in ends} == {ROUNDS}
        assert len({end["weights_sha256"] for end in ends}) == 1
        models = [read_model(hosts.path / name / "model.keras") for name in HOSPITALS]
        assert {weights_digest(model.weights).hex() for model in models} == {ends[0]["weights_sha256"]}
        trust = [part for name in HOSPITALS for part in ("--trust", hosts.path / name / "trust.json")]
        audited = hosts.json("server", "audit", hosts.server, *trust)
        assert audited["verified"] is True
