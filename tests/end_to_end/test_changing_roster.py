"""Separate hosts while the roster changes: one hospital joins after a round, another is revoked after the next."""

import time
import tomllib
from pathlib import Path

import pytest
import tomli_w
from hosts import Hosts, admit, agree, enroll, few_images, found, hosts_in, may_make_namespaces, quick_study

from fedward.hosts.project import Project

pytestmark = pytest.mark.end_to_end
FIRST, LATER, LEAVING = ("north", "east", "south"), "west", "south"


def lead_until(hosts: Hosts, rounds: int) -> None:
    """Lead the study until so many rounds are decided, then pause it."""
    hosts.run("server", "start-study", hosts.server, "--detach")
    progress, deadline = hosts.server / "server" / "progress.jsonl", time.monotonic() + 400
    while f'"opened", "round": {rounds}' not in (progress.read_text() if progress.exists() else ""):
        assert time.monotonic() < deadline, hosts.logs()
        time.sleep(0.2)
    early = hosts.run(FIRST[0], "conclude", hosts.path / FIRST[0], ok=False)
    assert (early.returncode, "is running" in early.stderr) == (2, True), early.stderr
    hosts.run("server", "stop", hosts.server)
    assert hosts.json("server", "status", hosts.server)["rounds"]["decided"] == rounds


def name_in_project(hosts: Hosts, name: str) -> None:
    """As the administrator, add a hospital to the project's file."""
    path = hosts.server / "project.toml"
    content = tomllib.loads(path.read_text())
    content["study"]["hospitals"].append(name)
    path.write_text(tomli_w.dumps(content, multiline_strings=True))
    assert name in Project.load(path).study.hospitals


def test_a_hospital_joins_and_another_is_revoked(tmp_path: Path, real_data: Path) -> None:
    images = few_images(real_data, tmp_path)
    with hosts_in(tmp_path, namespaces=may_make_namespaces()) as hosts:
        found(hosts, images, quick_study(3), FIRST)
        admit(hosts, FIRST)
        agree(hosts, FIRST)
        for name in FIRST:
            hosts.start(name, "SuperNode")
        lead_until(hosts, 1)

        name_in_project(hosts, LATER)
        enroll(hosts, LATER, images / "hospital-4.npz")
        admit(hosts, [LATER])
        agree(hosts, (*FIRST, LATER))
        hosts.start(LATER, "SuperNode")
        lead_until(hosts, 2)

        hosts.run("server", "revoke", hosts.server, LEAVING)
        refused = hosts.run(LEAVING, "agree", hosts.path / LEAVING, "--number", "0", ok=False)
        assert refused.returncode != 0
        # It still says what it saw, and can be asked for it.
        hosts.run(LEAVING, "conclude", hosts.path / LEAVING, "--only-trust")
        left = [name for name in (*FIRST, LATER) if name != LEAVING]
        agree(hosts, left)
        hosts.run("server", "start-study", hosts.server)
        ends = [hosts.json(name, "conclude", hosts.path / name) for name in left]
        assert {end["rounds"]["accepted"] for end in ends} == {3}
        assert len({end["weights_sha256"] for end in ends}) == 1
        for host in (*FIRST, LATER, "server"):
            hosts.stop(host)
        audited = hosts.json("server", "audit", hosts.server, *hosts.trust((*FIRST, LATER)))
        failed = [line for line in audited["steps"] if line["status"] == "FAIL"]
        assert failed == []
        assert audited["verified"] is True
