"""No key opens an update: what the server and too few hospitals try, and what becomes of those who cheat."""

import dataclasses
import itertools
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cheats import cheating, dealing_wrong_shares, lying_about_shares, releasing_a_wrong_sum
from expected_replies import failure_in
from federation import Federation
from flwr.app import Message
from shared_runs import SharedRuns

from blockchain.identity import Identity
from blockchain.key_sharing import release_sum
from blockchain.ledger.records import RoundPhase
from encryption import RoundKey, decrypt, opens
from fedward.ciphertexts.packing import round_plan
from fedward.ciphertexts.public_polynomials import round_seed
from fedward.ciphertexts.serialized import RING_DEGREE
from fedward.errors import EncryptionError, QuorumError, VerificationError
from fedward.folders.hospital import HospitalFolder
from fedward.messages.key_sharing import ANSWERS, RELEASE, ReleaseRequest, request_to_records
from fedward.sharing.modular import Residues, add, subtract
from fedward.sharing.releases import restore_sum_key
from fedward.sharing.sealed_releases import ChannelKey, decrypt_release
from fedward.sharing.shamir import restore
from fedward.sharing.terms import Purpose, ReleaseTerms
from fedward.types import HospitalId

HOSPITALS, THRESHOLD = 4, 3


@pytest.fixture
def federation(tmp_path: Path, shared_runs: SharedRuns) -> Iterator[Federation]:
    more = (("data.hospitals", HOSPITALS), ("ledger.release-threshold", 0), ("ledger.min-included", 2))
    with shared_runs.federation(tmp_path / "run", *more) as made:
        assert made.ledger.rules().release_threshold == 0
        yield made


class Spoils:
    """All disks as they are when shares are there and the sum is not opened yet, and again when the round is over."""

    def __init__(self, federation: Federation, path: Path) -> None:
        self._federation, self._path = federation, path
        federation.grid.tamper = self._copy

    def _copy(self, node: int, reply: Message) -> Message:
        """Each hospital's disk, right after it has answered about its shares."""
        if reply.metadata.message_type == ANSWERS:
            hospital = self._federation.folder.hospital(HospitalId(f"hospital-{node}")).path
            shutil.copytree(hospital, self._path / f"hospital-{node}")
        return reply

    def hospital(self, node: int) -> HospitalFolder:
        return HospitalFolder(self._path / f"hospital-{node}")

    def shares_of(self, dealer: int, holders: Sequence[int]) -> dict[int, Residues]:
        """What these hospitals' disks have of a dealer's key, by holder."""
        found = {holder: self.hospital(holder).sharing.shares(1) for holder in holders}
        return {holder: shares[dealer][:RING_DEGREE] for holder, shares in found.items() if shares}


def update_and_seed(federation: Federation, dealer: int) -> tuple[list[bytes], bytes]:
    """A hospital's recorded ciphertexts, from the server's disk, and the public polynomials' seed."""
    opening, server = federation.ledger.opening(1), federation.folder.server
    address = opening.roster[dealer - 1].address
    chunks = [server.ciphertexts.chunk(name) for name in server.ciphertexts.round_files(1).updates[address]]
    place = (federation.ledger.chain_id, federation.ledger.contract, 1, opening.ledger_head)
    return chunks, round_seed(*place, Purpose.UPDATES.name)


def sum_key(federation: Federation, hospital: HospitalFolder) -> Residues:
    """The key of the round's sum, as any hospital, and so any who robbed one, restores it."""
    opening, record = federation.ledger.opening_and_round(1)
    channel = ChannelKey.from_bytes(hospital.load_channel_key(opening.context_fingerprint))
    released = {}
    for sent in federation.folder.server.load_sum(1).releases:
        said = sent.signed.release
        mask = sum(1 << place for place in record.included)
        terms = ReleaseTerms(
            said.chain_id, said.contract, 1, said.hospital, Purpose.UPDATES, said.ledger_head, mask, said.sum_hash
        )
        number = next(n for n, entry in enumerate(opening.roster, 1) if entry.address == said.hospital)
        released[number] = decrypt_release(sent.content, terms, channel, RING_DEGREE)
    return restore_sum_key(released, opening.threshold, lambda _: True).key


def test_one_less_than_the_threshold_and_the_server_open_no_update(federation: Federation, tmp_path: Path) -> None:
    """Every two of four hospitals, with all they have on disk and all the server has, try what keys they can make."""
    spoils = Spoils(federation, tmp_path / "spoils")
    assert federation.lead_round()["phase"] == "accepted"
    plan = round_plan(len(federation.initial), HOSPITALS, federation.settings)
    whole = sum_key(federation, spoils.hospital(1))
    for victim in range(1, HOSPITALS + 1):
        chunks, seed = update_and_seed(federation, victim)
        others = [node for node in range(1, HOSPITALS + 1) if node != victim]
        for robbers in itertools.combinations(others, THRESHOLD - 1):
            shares = spoils.shares_of(victim, robbers)
            own = [spoils.shares_of(robber, range(1, HOSPITALS + 1)) for robber in robbers]
            keys = [restore({holder: share}, 1) for holder, share in shares.items()]
            keys += [restore(shares, THRESHOLD - 1), restore(dict(shares) | {victim: np.zeros_like(whole)}, THRESHOLD)]
            keys += [whole, subtract(whole, restore(own[0], THRESHOLD)), add(*shares.values())]
            # Without both their own keys, the sum is that of the victim and one more honest hospital.
            keys.append(subtract(keys[-2], restore(own[1], THRESHOLD)))
            for key in keys:
                assert not opens(chunks, plan, RoundKey(key), seed, 1)
                with pytest.raises(EncryptionError):
                    decrypt(chunks, plan, RoundKey(key), seed, 1)
        # The attack itself is right: as many hospitals as the threshold do open it.
        robbed = RoundKey(restore(spoils.shares_of(victim, others), THRESHOLD))
        assert opens(chunks, plan, robbed, seed, 1)
        assert np.abs(decrypt(chunks, plan, robbed, seed, 1)).max() > 0


def test_after_the_round_no_disk_has_a_share_or_key(federation: Federation, tmp_path: Path) -> None:
    spoils = Spoils(federation, tmp_path / "spoils")
    federation.lead_round()
    secrets = [share.tobytes()[:64] for node in range(1, 5) for share in spoils.shares_of(node, range(1, 5)).values()]
    whole = sum_key(federation, spoils.hospital(1)).tobytes()[:64]

    def found(path: Path) -> set[bytes]:
        contents = [file.read_bytes() for file in path.rglob("*") if file.is_file()]
        return {secret for secret in (*secrets, whole) if any(secret in content for content in contents)}

    assert found(tmp_path / "spoils") == set(secrets)  # the search finds them where they were
    assert not found(federation.folder.path)


def test_a_second_set_is_refused_by_every_hospital(federation: Federation) -> None:
    """A ledger that tells hospitals another set than before: none of them helps to open both."""
    federation.lead_round()
    opening, record = federation.ledger.opening_and_round(1)
    request = ReleaseRequest(1, Purpose.UPDATES, (), bytes(32))
    for place in record.included:
        smaller = dataclasses.replace(record, included=tuple(other for other in record.included if other != place))
        for node in range(1, HOSPITALS + 1):
            folder = federation.folder.hospital(HospitalId(f"hospital-{node}"))
            identity = Identity.load(folder.identity)
            arguments = (folder, federation.ledger, opening)
            same = release_sum(*arguments, record, identity, request, federation.settings)
            with pytest.raises(VerificationError, match="for another set or sum"):
                release_sum(*arguments, smaller, identity, request, federation.settings)
            assert release_sum(*arguments, record, identity, request, federation.settings) == same


def changed(content: bytes) -> bytes:
    return content[:100] + bytes([content[100] ^ 1]) + content[101:]


def test_a_share_that_the_server_changed_is_refused_by_its_holder(federation: Federation) -> None:
    deliver = federation.grid.deliver

    def tampered(node: int, request: Message) -> Message | None:
        if request.metadata.message_type == ANSWERS and node == 2:
            values = request.content.config_records["dealings"]
            values["shares"] = [changed(share) for share in values["shares"]]  # type: ignore[union-attr]
        return deliver(node, request)  # type: ignore[arg-type]

    federation.grid.deliver = tampered  # type: ignore[method-assign, assignment]
    assert federation.lead_round()["phase"] == "accepted"
    told = [entry for entry in progress(federation) if entry["event"] == "unanswered"]
    assert [entry["hospital"] for entry in told] == ["hospital-2"]
    assert "is not the one that it committed to" in told[0]["reason"]


def progress(federation: Federation) -> list[dict[str, str]]:
    return [json.loads(line) for line in federation.folder.server.progress.read_text().splitlines()]


def test_a_changed_release_does_not_count(federation: Federation) -> None:
    """Three of four are still enough; the fourth came with another content than its hospital signed."""

    def tamper(node: int, reply: Message) -> Message:
        if reply.metadata.message_type == RELEASE and node == 3:
            values = reply.content.config_records["release"]
            values["content"] = changed(values["content"])  # type: ignore[arg-type]
        return reply

    federation.grid.tamper = tamper
    metrics = federation.lead_round()
    assert (metrics["phase"], metrics["accepts"]) == ("accepted", 4)
    assert len(federation.folder.server.load_sum(1).releases) == THRESHOLD


def test_a_wrong_release_is_corrected_and_its_hospital_named(federation: Federation) -> None:
    with cheating(federation.grid, {2: releasing_a_wrong_sum()}):
        metrics = federation.lead_round()
    assert (metrics["phase"], metrics["accepts"]) == ("accepted", 4)
    assert named(metrics) == {(address(federation, 2), "WrongRelease")}


def named(metrics: dict[str, Any]) -> set[tuple[str, str]]:
    """Who was set aside in a round, and why."""
    return {(entry["hospital"], entry["reason"]) for entry in metrics["rejections"]}


def address(federation: Federation, node: int) -> str:
    return Identity.load(federation.folder.hospital(HospitalId(f"hospital-{node}")).identity).address


@pytest.mark.parametrize("holders", [(0,), (0, 3), (0, 1, 3)])
def test_a_dealer_of_wrong_shares_is_left_out_and_named(federation: Federation, holders: tuple[int, ...]) -> None:
    with cheating(federation.grid, {3: dealing_wrong_shares(*holders)}):
        metrics = federation.lead_round()
    assert metrics["phase"] == "accepted"
    assert federation.ledger.round(1).included == (0, 1, 3)
    assert federation.ledger.exclusions(1) == {2: "WrongDealing"}
    assert {hospital for hospital, _ in named(metrics)} == {address(federation, 3)}


def test_a_holder_that_accuses_everybody_is_set_aside(federation: Federation) -> None:
    with cheating(federation.grid, {4: lying_about_shares(1, 2, 3)}):
        metrics = federation.lead_round()
    assert metrics["phase"] == "accepted"
    assert federation.ledger.round(1).included == (0, 1, 2, 3)
    assert named(metrics) == {(address(federation, 4), "WrongAnswers")}
    assert len(federation.folder.server.load_sum(1).releases) == THRESHOLD


def test_a_share_of_another_round_does_not_open(federation: Federation) -> None:
    """The server keeps round 1's sealed shares and passes them on again in round 2."""
    kept: list[Message] = []
    deliver = federation.grid.deliver

    def replay(node: int, request: Message) -> Message | None:
        if request.metadata.message_type == ANSWERS and node == 1:
            kept.append(request)
            if len(kept) == 2:
                values = request.content.config_records["dealings"]
                values["shares"] = kept[0].content.config_records["dealings"]["shares"]
        return deliver(node, request)  # type: ignore[arg-type]

    federation.grid.deliver = replay  # type: ignore[method-assign, assignment]
    federation.lead_round()
    assert federation.lead_round()["phase"] == "accepted"
    told = [entry for entry in progress(federation) if entry["event"] == "unanswered"]
    assert [(entry["hospital"], entry["round"]) for entry in told] == [("hospital-1", 2)]


def test_too_few_releases_end_a_round_and_the_next_goes_on(federation: Federation) -> None:
    def tamper(node: int, reply: Message) -> Message | None:
        return None if reply.metadata.message_type == RELEASE and node < 3 else reply

    federation.grid.tamper = tamper
    federation.settings = dataclasses.replace(
        federation.settings, speed=dataclasses.replace(federation.settings.speed, answer_timeout_s=0.2)
    )
    with pytest.raises(QuorumError, match=r"2 of 4 hospitals released their part of its key, 3 are needed"):
        federation.lead_round()
    assert federation.ledger.round(1).phase is RoundPhase.ABORTED
    federation.grid.tamper = lambda _node, reply: reply
    assert federation.lead_round()["phase"] == "accepted"


def test_no_release_before_the_ledger_has_fixed_the_set(federation: Federation) -> None:
    opening = federation.server().ledger.open_round()
    for purpose in Purpose:
        request = ReleaseRequest(opening.round_index, purpose, (0, 1, 2, 3), bytes(32))
        message = Message(request_to_records(request), dst_node_id=1, message_type=RELEASE)
        (name,) = federation.grid.push_messages([message])
        (reply,) = federation.grid.pull_messages([name])
        assert "which is open on the ledger" in failure_in(reply).what


def test_where_too_few_are_left_after_the_judgment_nothing_is_closed(federation: Federation) -> None:
    """One is silent and one lies, so that two are left: the set stays open, and no hospital releases anything."""
    federation.grid.tamper = lambda node, reply: None if reply.metadata.message_type == ANSWERS and node == 1 else reply
    federation.settings = dataclasses.replace(
        federation.settings, speed=dataclasses.replace(federation.settings.speed, answer_timeout_s=0.2)
    )
    with (
        cheating(federation.grid, {4: lying_about_shares(1, 2, 3)}),
        pytest.raises(QuorumError, match=r"has 2 hospitals left that can open its sum, where 3 are needed"),
    ):
        federation.lead_round()
    assert federation.ledger.round(1).phase is RoundPhase.ABORTED
    assert federation.ledger.round(1).included == ()
    assert not [request for request in federation.grid.requests if request.metadata.message_type == RELEASE]
