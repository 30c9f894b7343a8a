"""Step 13 of an audit: what the hospitals' trust file and checkpoints show of a cut, forked or invented ledger."""

import dataclasses
from collections.abc import Mapping, Sequence

import pytest
from audit_material import claims, lines, only, story

from blockchain.audit.checks.rounds import Attestation, Moment, RoundStory
from blockchain.audit.checks.trusted import check_trust
from blockchain.audit.report import Report, Status, Step
from blockchain.audit.sources.evidence import ClaimedMember, Claims
from blockchain.consortium.trust import TrustFile
from blockchain.identity import Identity
from blockchain.ledger.records import RosterEntry, RoundPhase
from blockchain.signing.checkpoints import Checkpoint, SignedCheckpoint, sign_checkpoint
from fedward.types import Address, HospitalId

CHAIN_ID = 7
GENESIS = bytes([100]) * 32
TIP = 12
HASHES = {height: bytes([height]) * 32 for height in range(1, TIP + 1)}
HEADS = {height: bytes([50 + min(height, 10)]) * 32 for height in range(1, TIP + 1)}  # blocks 11 and 12: nothing new


@dataclasses.dataclass(frozen=True)
class People:
    """Three hospitals, a witness and a stranger."""

    hospitals: tuple[Identity, ...]
    witness: Identity
    stranger: Identity

    def named(self) -> dict[HospitalId, Address]:
        return {HospitalId(f"hospital-{n}"): each.address for n, each in enumerate(self.hospitals, start=1)}


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> People:
    folder = tmp_path_factory.mktemp("identities")
    *hospitals, witness, stranger = [Identity.create(folder / str(n)) for n in range(5)]
    return People(tuple(hospitals), witness, stranger)


CONTRACT = Address("0x5B38Da6a701c568545dCfcB03FcB875f56beddC4")


def seen(who: Identity, height: int, signer: Identity | None = None, **changes: object) -> SignedCheckpoint:
    """What a hospital saw at a height, as it really was but for these changes."""
    honest = Checkpoint(
        CHAIN_ID, CONTRACT, who.address, 1, height, HASHES.get(height, bytes(32)), HEADS.get(height, bytes(32))
    )
    return sign_checkpoint(dataclasses.replace(honest, **changes), signer or who)  # type: ignore[arg-type]


def told(people: People, *more: Identity) -> list[RoundStory]:
    """One round with these hospitals on its roster."""
    roster = tuple(RosterEntry(n, each.address, 10) for n, each in enumerate((*people.hospitals, *more)))
    return [story([], roster=roster)]


def trusting(people: People, *checkpoints: SignedCheckpoint, **changes: object) -> TrustFile:
    usual = TrustFile(CHAIN_ID, CONTRACT, GENESIS, people.named(), (people.witness.address,), checkpoints)
    return dataclasses.replace(usual, **changes)  # type: ignore[arg-type]


def said(people: People, **changes: object) -> Claims:
    roster = tuple(ClaimedMember(name, address, 10) for name, address in people.named().items())
    usual = {"chain_id": CHAIN_ID, "contract": CONTRACT, "roster": roster}
    return claims(**(usual | changes))


def checked(
    people: People,
    trust: TrustFile | None,
    handed_over: Sequence[SignedCheckpoint] = (),
    said_of_it: Claims | None = None,
    stories: list[RoundStory] | None = None,
    hashes: Mapping[int, bytes] = HASHES,
) -> Report:
    report = Report()
    heads = {height: head for height, head in HEADS.items() if height in hashes}
    rounds = told(people) if stories is None else stories
    check_trust(said_of_it or said(people), hashes, heads, GENESIS, rounds, handed_over, trust, report)
    return report


def failure(report: Report) -> str:
    """The text of the only line that failed."""
    return only(report, Step.CHECKPOINTS, Status.FAIL).evidence


# ---- what holds -----------------------------------------------------------------------------------------------------


def test_a_ledger_that_all_hospitals_saw_to_its_end_holds(people: People) -> None:
    first, second, _ = people.hospitals
    trust = trusting(people, seen(first, 5), seen(first, TIP), seen(second, 9))
    ends = said(people, height=TIP, block_hash=HASHES[TIP], ledger_head=HEADS[TIP])
    report = checked(people, trust, [seen(second, 9), seen(second, 10)], ends)
    assert {line.status for line in report.lines} == {Status.OK}
    by_hospital = {line.hospital: line for line in report.lines if line.hospital}
    assert by_hospital["hospital-1"].evidence == "2 checkpoints of hospital-1 hold, the last at block 12."
    assert by_hospital["hospital-2"].evidence == "2 checkpoints of hospital-2 hold, the last at block 10."
    assert by_hospital["hospital-1"].checks == 8
    assert report.exit_code == 0


def test_a_checkpoint_of_the_source_counts_if_a_trusted_hospital_signed_it(people: People) -> None:
    report = checked(people, trusting(people), [seen(people.hospitals[0], TIP)])
    assert report.exit_code == 0


def test_without_a_trust_file_evidence_is_missing_though_the_checkpoints_hold(people: People) -> None:
    report = checked(people, None, [seen(people.hospitals[0], TIP)])
    assert "give --trust FILE" in only(report, Step.CHECKPOINTS, Status.MISSING).evidence
    assert only(report, Step.CHECKPOINTS, Status.OK).hospital == "hospital-1"
    assert report.exit_code == 8


def test_before_the_first_round_the_run_tells_the_roster(people: People) -> None:
    report = checked(people, trusting(people, seen(people.hospitals[0], TIP, round_index=0)), stories=[])
    assert report.exit_code == 0


# ---- another ledger -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"chain_id": 8}, "chain id is 7, the hospitals' is 8"),
        ({"contract": Address("0x" + "00" * 20)}, "contract is"),
        ({"genesis_hash": bytes(32)}, "block 0 is"),
    ],
)
def test_another_ledger_than_the_hospitals_is_found(people: People, change: dict[str, object], name: str) -> None:
    assert name in failure(checked(people, trusting(people, **change)))


def test_a_ghost_hospital_is_found(people: People) -> None:
    trust = trusting(people, seen(people.hospitals[0], TIP))
    text = failure(checked(people, trust, stories=told(people, people.stranger)))
    assert text.startswith(f"A ghost hospital: {people.stranger.address}")


def test_a_missing_hospital_is_found(people: People) -> None:
    fewer = People(people.hospitals[:2], people.witness, people.stranger)
    report = checked(people, trusting(people, seen(people.hospitals[0], TIP)), stories=told(fewer))
    assert failure(report).startswith("hospital-3 (")


def test_exchanged_names_are_found(people: People) -> None:
    first, second, third = people.named().values()
    swapped = {HospitalId("hospital-2"): first, HospitalId("hospital-1"): second, HospitalId("hospital-3"): third}
    report = checked(people, trusting(people, seen(people.hospitals[0], TIP), hospitals=swapped))
    assert len(lines(report, Step.CHECKPOINTS, Status.FAIL)) == 2


def test_who_was_taken_off_the_roster_is_noted(people: People) -> None:
    fewer = People(people.hospitals[:2], people.witness, people.stranger)
    stories = told(people) + [dataclasses.replace(each, round_index=2) for each in told(fewer)]
    report = checked(people, trusting(people, seen(people.hospitals[0], TIP)), stories=stories)
    line = only(report, Step.CHECKPOINTS, Status.NOTE)
    assert (line.hospital, line.round_index) == ("hospital-3", 2)
    assert report.exit_code == 0


def test_only_the_hospitals_witnesses_count(people: People) -> None:
    trust = trusting(people, seen(people.hospitals[0], TIP))
    stories = told(people)
    stories[0].witnesses.append(Attestation(people.witness.address, stories[0].opened, bytes(32)))
    assert checked(people, trust, stories=stories).exit_code == 0
    stories[0].witnesses.append(Attestation(people.stranger.address, stories[0].opened, bytes(32)))
    assert "is no witness of the trust file" in failure(checked(people, trust, stories=stories))


# ---- cut and forked -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trusted", [True, False])
def test_a_cut_tail_is_found(people: People, trusted: bool) -> None:
    saw = seen(people.hospitals[1], TIP)
    shorter = {height: each for height, each in HASHES.items() if height <= 9}
    report = checked(people, trusting(people, saw) if trusted else None, [saw], hashes=shorter)
    assert failure(report) == "The tail is cut: hospital-2 saw block 12, this ledger ends at 9."


@pytest.mark.parametrize("trusted", [True, False])
def test_a_fork_is_found(people: People, trusted: bool) -> None:
    saw = seen(people.hospitals[1], 9, block_hash=bytes([200]) * 32)
    report = checked(people, trusting(people, saw) if trusted else None, [saw])
    assert failure(report).startswith("A fork: hospital-2 saw block 9 as c8c8c8c8")
    assert "here it is 09090909" in failure(report)


def test_a_fork_at_block_0_is_found(people: People) -> None:
    saw = seen(people.hospitals[0], 0, block_hash=bytes([200]) * 32)
    assert failure(checked(people, trusting(people, saw))).startswith("A fork: hospital-1 saw block 0")


def test_another_ledger_head_is_found(people: People) -> None:
    saw = seen(people.hospitals[0], TIP, ledger_head=bytes([200]) * 32)
    assert "saw the ledger head c8c8c8c8" in failure(checked(people, trusting(people, saw)))


def test_blocks_that_nobody_vouches_for_are_missing_evidence(people: People) -> None:
    report = checked(people, trusting(people, seen(people.hospitals[0], 9)))
    text = only(report, Step.CHECKPOINTS, Status.MISSING).evidence
    assert text == "The blocks after 9, up to 12, are vouched for by nobody."
    assert report.exit_code == 8


def test_blocks_that_change_nothing_of_the_ledger_need_nobody(people: People) -> None:
    report = checked(people, trusting(people, seen(people.hospitals[0], 10)))
    assert only(report, Step.CHECKPOINTS, Status.NOTE)
    assert report.exit_code == 0


def test_a_trust_file_without_checkpoints_vouches_for_no_block(people: People) -> None:
    report = checked(people, trusting(people))
    assert "No checkpoint holds" in only(report, Step.CHECKPOINTS, Status.MISSING).evidence


def decided(people: People, *rounds: tuple[int, RoundPhase, int]) -> list[RoundStory]:
    """Rounds with all hospitals on the roster: number, outcome, and the block of the aggregate."""
    (base,) = told(people)
    return [
        dataclasses.replace(base, round_index=index, outcome=outcome, closed=Moment(block, 100 * block))
        for index, outcome, block in rounds
    ]


LAST = (1, RoundPhase.ACCEPTED, 4), (2, RoundPhase.REJECTED, 8), (3, RoundPhase.ABORTED, 11)


def test_a_hospital_that_is_silent_in_the_last_rounds_is_missed(people: People) -> None:
    first, second, third = people.hospitals
    trust = trusting(people, seen(first, TIP), seen(second, 7))
    report = checked(people, trust, [seen(second, 5)], stories=decided(people, *LAST))
    silent = lines(report, Step.CHECKPOINTS, Status.MISSING)
    assert [line.hospital for line in silent] == ["hospital-2", "hospital-3"]
    assert "the aggregate of round 2, in block 8, is not known: its last checkpoint is of block 7" in silent[0].evidence
    assert "none of its checkpoints is here" in silent[1].evidence
    assert report.exit_code == 8
    whole = checked(people, trust, [seen(second, 8), seen(third, 9)], stories=decided(people, *LAST))
    assert not lines(whole, Step.CHECKPOINTS, Status.MISSING)
    assert any(line.evidence.startswith("Each of 3 hospitals has signed") for line in whole.lines)


def test_a_hospitals_broken_checkpoint_vouches_for_nothing(people: People) -> None:
    first, second, third = people.hospitals
    forged = seen(third, TIP, signer=second)
    trust = trusting(people, seen(first, TIP), seen(second, TIP), forged)
    report = checked(people, trust, stories=decided(people, *LAST))
    assert only(report, Step.CHECKPOINTS, Status.MISSING).hospital == "hospital-3"


def test_a_hospital_taken_off_the_roster_need_not_have_seen_later_rounds(people: People) -> None:
    fewer = People(people.hospitals[:2], people.witness, people.stranger)
    stories = [*decided(people, LAST[0]), *decided(fewer, LAST[1])]
    signed = [seen(people.hospitals[0], TIP), seen(people.hospitals[1], 8)]
    report = checked(people, trusting(people, *signed, seen(people.hospitals[2], 4)), stories=stories)
    assert not lines(report, Step.CHECKPOINTS, Status.MISSING)
    report = checked(people, trusting(people, *signed, seen(people.hospitals[2], 3)), stories=stories)
    assert only(report, Step.CHECKPOINTS, Status.MISSING).hospital == "hospital-3"


# ---- checkpoints that are none --------------------------------------------------------------------------------------


def test_a_checkpoint_signed_by_somebody_else_is_found(people: People) -> None:
    first, second, _ = people.hospitals
    report = checked(people, trusting(people, seen(first, TIP, signer=second)))
    assert failure(report) == f"A checkpoint of block 12 names hospital-1, but is signed by {second.address}."
    assert only(report, Step.CHECKPOINTS, Status.MISSING)  # and so nobody vouches for the last block


@pytest.mark.parametrize("signature", [b"", bytes(65), b"\xff" * 65, b"\xff" * 64 + b"\x1b", bytes(66)])
def test_a_signature_that_is_none_is_found(people: People, signature: bytes) -> None:
    forged = dataclasses.replace(seen(people.hospitals[0], TIP), signature=signature)
    assert "names hospital-1, but is signed by" in failure(checked(people, trusting(people, forged)))


def test_a_checkpoint_of_a_stranger_is_found(people: People) -> None:
    report = checked(people, trusting(people, seen(people.hospitals[0], TIP)), [seen(people.stranger, TIP)])
    assert "which is no hospital of this ledger" in failure(report)


@pytest.mark.parametrize("change", [{"chain_id": 8}, {"contract": Address("0x" + "00" * 20)}])
def test_a_checkpoint_of_another_ledger_is_found(people: People, change: dict[str, object]) -> None:
    saw = seen(people.hospitals[0], TIP, **change)
    assert "this ledger is" in failure(checked(people, trusting(people, seen(people.hospitals[0], TIP)), [saw]))


@pytest.mark.parametrize(
    "change",
    [
        {"round_index": 2**32},
        {"round_index": -1},
        {"height": 2**64},
        {"height": -1},
        {"chain_id": 2**256},
        {"chain_id": -1},
        {"block_hash": bytes(31)},
        {"ledger_head": bytes(33)},
        {"hospital": Address("0x12")},
        {"contract": Address("x.eth")},
    ],
)
def test_fields_that_no_signature_covers_fail_and_raise_nothing(people: People, change: dict[str, object]) -> None:
    honest = seen(people.hospitals[0], TIP)
    made_up = SignedCheckpoint(dataclasses.replace(honest.checkpoint, **change), honest.signature)  # type: ignore[arg-type]
    assert "has fields that nobody can have signed" in failure(checked(people, trusting(people, honest), [made_up]))


# ---- what the run says of its end -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"height": 13}, "ends at block 13, this one ends at 12"),
        ({"height": 11}, "ends at block 11, this one ends at 12"),
        ({"height": TIP, "block_hash": bytes(32)}, f"has the block hash {'00' * 32}, it has 0c0c0c0c"),
        ({"height": TIP, "ledger_head": bytes(32)}, f"has the ledger head {'00' * 32}, it has 3c3c3c3c"),
        ({"ledger_head": bytes(32)}, "block 12 has the ledger head"),
    ],
)
def test_another_end_than_the_run_says_is_found(people: People, change: dict[str, object], text: str) -> None:
    trust = trusting(people, seen(people.hospitals[0], TIP))
    assert text in failure(checked(people, trust, said_of_it=said(people, **change)))
