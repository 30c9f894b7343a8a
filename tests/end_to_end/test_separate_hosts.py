"""A study on separate hosts, as docs/DEPLOYMENT.md says it: a server and four hospitals, each with its own network."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import psutil
import pytest
from deployment_steps import People, steps
from hosts import HOSPITALS, IMAGES_OF_A_CLASS, Hosts, hosts_in, may_make_namespaces, quick_study
from loopback_study import wait_for
from soak import scaled

from blockchain.consortium.remembering import last_checkpoint
from blockchain.identity import Identity
from blockchain.signing.checkpoints import sign_checkpoint
from fedward.folders.hospital import HospitalFolder
from fedward.hosts.loopback import free_port
from fedward.learning.digest import weights_digest
from fedward.learning.stored_model import read_model
from fedward.messages.signed import write_signed

pytestmark = pytest.mark.end_to_end
ROUNDS = scaled(1, 3)


def x_rays(real_data: Path, target: Path) -> dict[str, Path]:
    """Some of the real X-rays in folders of classes, others for each hospital."""
    for name in ("NORMAL", "PNEUMONIA"):
        found = sorted((real_data / "chest_xray" / "train" / name).iterdir())[:IMAGES_OF_A_CLASS]
        share = len(found) // len(HOSPITALS)
        for index, hospital in enumerate(HOSPITALS):
            (target / hospital / name).mkdir(parents=True)
            for path in found[index * share : (index + 1) * share]:
                shutil.copyfile(path, target / hospital / name / path.name)
    return {hospital: target / hospital for hospital in HOSPITALS}


def users_of_processes(hosts: Hosts) -> dict[str, set[int]]:
    """Whose a host's processes are, by host; the process that was started, and all that it started."""
    found = {}
    for host, started in hosts.running.items():
        first = psutil.Process(started.pid)
        found[host] = {process.uids().real for process in (first, *first.children(recursive=True))}
    return found


def sign_another_fork(kits: Path, hospital: str) -> None:
    """As a hospital that was shown another fork: sign its last block with another hash, and leave that there."""
    folder = HospitalFolder(kits / hospital / "hospital")
    identity, seen = Identity.load(folder.identity), last_checkpoint(folder)
    assert seen
    signed = sign_checkpoint(dataclasses.replace(seen.checkpoint, block_hash=b"\xaa" * 32), identity)
    path = kits / "server" / "server" / "keys" / "checkpoints" / f"{identity.address}.json"
    wait_for(path.exists, "its true checkpoint, which it left before")
    path.write_bytes(write_signed(signed))


def test_the_document_followed_word_by_word_gives_equal_models_and_a_clean_audit(
    tmp_path: Path, real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images_at = tmp_path / "x-rays"
    images = x_rays(real_data, images_at)
    kits = tmp_path / "kits"
    kits.mkdir()
    with hosts_in(kits, may_make_namespaces(), (*HOSPITALS, "witness"), [images_at]) as hosts:
        place = (
            {"host": hosts.network.addresses["server"]} if hosts.network else {"host": "localhost", "port": free_port()}
        )
        people = People(hosts, images, {"server": place, "settings": quick_study(ROUNDS)})
        for heading, commands in steps():
            people.follow(heading, commands)
            if "rounds" in heading:
                standing = hosts.json("server", "status", hosts.server)
                assert standing["rounds"] == {"decided": ROUNDS, "wanted": ROUNDS}
                assert {one["status"] for one in standing["hospitals"]} == {"online"}
                if hosts.users:
                    assert hosts.read_by_others() == []
                    assert users_of_processes(hosts) == {
                        host: {hosts.users.number(host)} for host in ("server", "witness", *HOSPITALS)
                    }
        monkeypatch.setenv("FEDWARD_PASSWORD_FILE", str(kits / "east.password"))
        sign_another_fork(kits, "east")
        wait_for((kits / "north" / "hospital" / "fork.json").exists, "the fork to be noticed")
        refused = hosts.run("north", "conclude", kits / "north", ok=False)
        assert (refused.returncode, "other blocks than this hospital was shown" in refused.stderr) == (7, True)
        attested = (kits / "witness" / "logs" / "serve.log").read_text().count("The witness attested to round")
        assert attested == ROUNDS
        for host in (*HOSPITALS, "witness", "server"):
            hosts.stop(host)
        ends = [json.loads((kits / name / "summary.json").read_text()) for name in HOSPITALS]
        assert {end["rounds"]["accepted"] for end in ends} == {ROUNDS}
        models = [read_model(kits / name / "model.keras") for name in HOSPITALS]
        assert {weights_digest(model.weights).hex() for model in models} == {end["weights_sha256"] for end in ends}
        assert len({end["weights_sha256"] for end in ends}) == 1
        audit, said = people.said[-1]
        assert audit.startswith("fedward audit server --trust north.json")
        assert re.search(r"^verified: \d+ checks$", said.replace(",", ""), flags=re.MULTILINE), said
