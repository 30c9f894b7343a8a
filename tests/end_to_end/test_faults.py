"""A study on separate hosts goes on through random faults, and nothing that the ledger acknowledged is ever missing."""

import json
import os
import random
import time
from pathlib import Path

import pytest
from faults import Faults
from hosts import HOSPITALS, Hosts, admit, agree, few_images, found, hosts_in, may_make_namespaces, quick_study
from soak import FIRST_SEED, SOAK, scaled

from fedward.learning.digest import weights_digest
from fedward.learning.stored_model import read_model

pytestmark = pytest.mark.end_to_end
FAULTS = int(os.environ.get("FEDWARD_FAULTS", scaled(2, 300)))
NAMES = HOSPITALS if SOAK else HOSPITALS[:3]
# Whoever is down is waited for no longer than it takes to start again and be let in, a minute for Flower.
DEADLINES = {
    # A round goes on without one.
    "ledger": {
        "submission-timeout-s": 180,
        "voting-timeout-s": 180,
        "min-included": len(NAMES) - 1,
        "release-threshold": len(NAMES) - 1,
    },
    "speed": {"answer-timeout-s": 30.0},
}
MOST_AT_ONCE, LONGEST_BREAK_S = 3, 8.0  # of faults between two accepted rounds
MORE_THAN_ARE_LED = 10_000


def test_a_study_survives_faults_at_random_moments(tmp_path: Path, real_data: Path) -> None:
    draw = random.Random(FIRST_SEED)  # noqa: S311 - faults that can be repeated, no secret
    images = few_images(real_data, tmp_path)
    with hosts_in(tmp_path, namespaces=may_make_namespaces(), names=NAMES) as hosts:
        found(hosts, images, quick_study(MORE_THAN_ARE_LED) | DEADLINES, NAMES)
        admit(hosts, NAMES)
        agree(hosts, NAMES)
        for name in NAMES:
            hosts.start(name, "SuperNode")
        hosts.run("server", "start-study", hosts.server, "--detach")
        faults = Faults(hosts, NAMES, draw)
        known = accept_one_more(hosts, faults, [])
        while (left := FAULTS - sum(faults.done.values())) > 0:
            for _ in range(min(left, draw.randint(1, MOST_AT_ONCE))):
                time.sleep(draw.uniform(0, LONGEST_BREAK_S))
                faults.one()
            known = accept_one_more(hosts, faults, known)
        print(f"seed {FIRST_SEED}, {len(hosts.rounds())} rounds, {sum(faults.done.values())} faults: {faults.done}")
        ends = conclude(hosts, faults)
        for host in (*NAMES, "server"):
            hosts.stop(host)
        assert len({(end["rounds"]["accepted"], end["weights_sha256"]) for end in ends}) == 1
        models = [read_model(hosts.path / name / "model.keras") for name in NAMES]
        assert {weights_digest(model.weights).hex() for model in models} == {ends[0]["weights_sha256"]}
        audited = hosts.json("server", "audit", hosts.server, *hosts.trust(NAMES))
        assert audited["verified"] is True, audited


def accept_one_more(hosts: Hosts, faults: Faults, known: list[str]) -> list[str]:
    """Let the study accept a round that began after now; what the ledger told before must still be there.

    Returns:
        All that the ledger tells now.
    """
    running = max((number for number, _ in hosts.rounds()), default=0) + 1  # it may have got past what was hit
    faults.go_on_until(lambda: any(number > running and phase == "accepted" for number, phase in hosts.rounds()))
    told = hosts.ledger_events()
    assert told[: len(known)] == known
    return told


def conclude(hosts: Hosts, faults: Faults) -> list[dict[str, object]]:
    """End the study with all hospitals in its last round, and conclude it at all of them."""
    while True:
        hosts.run("server", "stop", hosts.server)
        tried = [hosts.run(name, "conclude", hosts.path / name, "--json", ok=False) for name in NAMES]
        if not any(one.returncode for one in tried):
            return [json.loads(one.stdout) for one in tried]
        assert all("Keep it running for one more round" in one.stderr for one in tried if one.returncode), tried
        accept_one_more(hosts, faults, [])
