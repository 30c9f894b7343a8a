"""Real rounds send exactly the fields that are listed: none more, and none is listed that nothing sends."""

import json
from collections import defaultdict
from pathlib import Path

import pytest
from federation import PRIVATE_SCATTER, Federation, founded
from flwr.app import Message

from fedward.messages.outgoing import LISTED, check_listed
from fedward.privacy.accounting import PrivacyLedger, epsilon
from fedward.privacy.mechanism import expected_event
from fedward.settings import load
from fedward.types import HospitalId

EVENT = expected_event(load(None, *PRIVATE_SCATTER).privacy)
Sent = dict[str, set[str]]  # names of fields, by kind of message


class Watch:
    """Notes what comes from each hospital on its way to the server."""

    def __init__(self, federation: Federation) -> None:
        self.sent: dict[int, list[tuple[str, dict[str, int]]]] = defaultdict(list)
        federation.grid.tamper = self.note

    def note(self, node: int, reply: Message) -> Message:
        told = check_listed(reply.content)
        self.sent[node].append((told.kind, dict(told.fields)))
        return reply

    def fields(self) -> Sent:
        found: Sent = defaultdict(set)
        for kind, fields in (each for messages in self.sent.values() for each in messages):
            found[kind] |= set(fields)
        return found


def check_logs(federation: Federation, watch: Watch) -> None:
    """Each hospital's log has a line for each of its messages, in order."""
    for node, messages in watch.sent.items():
        path = federation.folder.hospital(HospitalId(f"hospital-{node}")).outgoing
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert [(line["kind"], line["fields"]) for line in lines] == messages
        assert all(line["bytes"] == sum(line["fields"].values()) for line in lines)
        assert {line["round"] for line in lines} <= {1, 2}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Sent:
    """Two rounds; one hospital was away in the first, another's images are gone in the second."""
    with founded(tmp_path_factory.mktemp("plain") / "run") as federation:
        watch = Watch(federation)
        federation.grid.absent = frozenset({3})
        federation.lead_round()
        federation.grid.absent = frozenset()
        federation.folder.hospital(HospitalId("hospital-2")).partition.unlink()
        federation.lead_round()
        check_logs(federation, watch)
        assert [kind for kind, _ in watch.sent[3]][:2] == ["missing", "update"]
        return watch.fields()


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Sent:
    """A round with privacy and encrypted counts; one hospital's budget is spent."""
    overrides = (*PRIVATE_SCATTER, ("privacy.budget", epsilon([EVENT] * 2)), ("metrics.encrypted", True))
    with founded(tmp_path_factory.mktemp("private") / "run", *overrides) as federation:
        watch = Watch(federation)
        record = PrivacyLedger(federation.folder.hospital(HospitalId("hospital-1")).privacy_record)
        for _ in range(2):
            record.charge(1, EVENT)
        federation.lead_round()
        check_logs(federation, watch)
        return watch.fields()


def test_what_is_listed_is_what_real_rounds_send(plain: Sent, private: Sent) -> None:
    listed = {kind: {field.name for field in fields} for kind, fields in LISTED.items()}
    assert {kind: plain.get(kind, set()) | private.get(kind, set()) for kind in listed} == listed
    assert set(plain) | set(private) == set(listed)


def test_with_privacy_nothing_is_told_that_has_no_noise(private: Sent) -> None:
    """What the table says of fields that only leave where privacy or encrypted counts are off."""
    assert "report.loss" not in private["update"]
    assert not {"seconds.train", "seconds.privatize"} & private["update"]
    assert not {"seconds.detect", "seconds.evaluate"} & private["ballot"]
    assert not any(name.startswith("counts.") for name in private["ballot"])


def test_the_log_is_for_the_hospital_only(tmp_path: Path) -> None:
    """It tells when a hospital worked; and nobody else has a folder like it."""
    with founded(tmp_path / "run") as federation:
        federation.lead_round()
        assert not list(federation.folder.server.path.rglob("outgoing.jsonl"))
        for node in (1, 2, 3):
            folder = federation.folder.hospital(HospitalId(f"hospital-{node}"))
            kinds = [json.loads(line)["kind"] for line in folder.outgoing.read_text().splitlines()]
            assert kinds == ["update", "answers", "release", "ballot"]
