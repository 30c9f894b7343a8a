"""A study on separate hosts: a server and four hospitals, each with files and a network of its own."""

from pathlib import Path

import pytest
from hosts import HOSPITALS, admit, agree, few_images, found, hosts_in, may_make_namespaces, quick_study
from soak import scaled

from fedward.learning.digest import weights_digest
from fedward.learning.stored_model import read_model

pytestmark = pytest.mark.end_to_end
ROUNDS = scaled(1, 3)  # each starts sixteen processes, which import TensorFlow


def test_a_study_of_four_hospitals_on_real_images(tmp_path: Path, real_data: Path) -> None:
    images = few_images(real_data, tmp_path)
    with hosts_in(tmp_path, namespaces=may_make_namespaces()) as hosts:
        found(hosts, images, quick_study(ROUNDS))
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
