"""Steps 10 and 11 of an audit, on real ciphertexts: what holds, and each way in which something does not."""

import dataclasses

import pytest
from audit_material import ADDRESSES, NAMES, Store, committed, encrypted, lines, only, root, story, total

from blockchain.audit.checks.ciphertexts import check_round
from blockchain.audit.checks.rounds import RoundStory
from blockchain.audit.report import Report, Status, Step
from blockchain.ledger.records import RoundPhase
from blockchain.signing.abstention import ABSTENTION_BYTES
from fedward.ciphertexts.serialized import MODULUS
from fedward.folders.ciphertexts import RoundFiles

Chunks = tuple[bytes, ...]


@pytest.fixture(scope="module")
def updates() -> tuple[Chunks, ...]:
    """Of four hospitals; the last is committed, but not added."""
    return tuple(encrypted(seed) for seed in range(4))


@pytest.fixture(scope="module")
def foreign() -> Chunks:
    return encrypted(99)


def recorded(updates: tuple[Chunks, ...], aggregate: Chunks) -> tuple[RoundStory, Store]:
    """A ledger and a store that agree on this aggregate, whatever is in it."""
    store = Store()
    listed = {ADDRESSES[place]: store.keep(chunks) for place, chunks in enumerate(updates)}
    store.files[1] = RoundFiles(store.keep(aggregate), listed)
    commitments = [committed(place, chunks) for place, chunks in enumerate(updates)]
    return story(commitments, root(aggregate), included=(0, 1, 2)), store


def honest(updates: tuple[Chunks, ...]) -> tuple[RoundStory, Store]:
    return recorded(updates, total(*updates[:3]))


def checked(told: RoundStory, store: Store) -> Report:
    report = Report()
    check_round(told, store, report, NAMES)
    return report


def relist(store: Store, place: int, names: tuple[str, ...]) -> None:
    """Replace the list of one hospital's ciphertexts."""
    files = store.files[1]
    store.files[1] = RoundFiles(files.aggregate, {**files.updates, ADDRESSES[place]: names})


# ---- what holds -----------------------------------------------------------------------------------------------------


def test_an_honest_round_holds_and_every_file_is_read_once(updates: tuple[Chunks, ...]) -> None:
    told, store = honest(updates)
    report = checked(told, store)
    assert {line.status for line in report.lines} == {Status.OK, Status.NOTE}
    assert only(report, Step.CIPHERTEXTS, Status.NOTE).hospital == "hospital-4"  # whose reason step 12 looks at
    assert len(lines(report, Step.CIPHERTEXTS, Status.OK)) == 5  # four updates, the excluded one too, and the sum
    addition = only(report, Step.ADDITION, Status.OK)
    assert addition.evidence.startswith("3 updates of 2 ciphertexts add up to the recorded ")
    assert addition.checks == 3
    assert sorted(store.reads) == sorted(store.chunks)
    assert report.exit_code == 0


# ---- damaged, swapped and malformed ciphertexts ---------------------------------------------------------------------


@pytest.mark.parametrize("byte", [0, 60, 5_000, -1])
def test_one_flipped_bit_is_found(updates: tuple[Chunks, ...], byte: int) -> None:
    told, store = honest(updates)
    name = store.files[1].updates[ADDRESSES[1]][1]
    content = bytearray(store.chunks[name])
    content[byte] ^= 1
    store.chunks[name] = bytes(content)
    report = checked(told, store)
    line = only(report, Step.CIPHERTEXTS, Status.FAIL)
    assert line.hospital == "hospital-2"
    assert line.evidence.startswith("hospital-2's update, ciphertext 2 of 2: ")
    assert name[:16] in line.evidence
    assert only(report, Step.ADDITION, Status.MISSING)


def test_a_damaged_aggregate_is_found_though_the_updates_add_up(updates: tuple[Chunks, ...]) -> None:
    told, store = honest(updates)
    store.chunks[store.files[1].aggregate[0]] = b"short"
    report = checked(told, store)
    assert only(report, Step.CIPHERTEXTS, Status.FAIL).evidence.startswith("The aggregate, ciphertext 1 of 2: ")
    assert only(report, Step.ADDITION, Status.OK)


def test_a_file_with_another_hospitals_content_is_found(updates: tuple[Chunks, ...]) -> None:
    told, store = honest(updates)
    store.chunks[store.files[1].updates[ADDRESSES[0]][0]] = updates[1][0]
    assert only(checked(told, store), Step.CIPHERTEXTS, Status.FAIL).hospital == "hospital-1"


def test_exchanged_lists_are_found_for_both_hospitals(updates: tuple[Chunks, ...]) -> None:
    told, store = honest(updates)
    first, second = (store.files[1].updates[ADDRESSES[place]] for place in (0, 1))
    relist(store, 0, second)
    relist(store, 1, first)
    report = checked(told, store)
    failed = lines(report, Step.CIPHERTEXTS, Status.FAIL)
    assert [line.hospital for line in failed] == ["hospital-1", "hospital-2"]
    assert root(updates[1]).hex()[:16] in failed[0].evidence
    assert root(updates[0]).hex()[:16] in failed[0].evidence
    assert only(report, Step.ADDITION, Status.MISSING)


def test_another_length_than_committed_is_found(updates: tuple[Chunks, ...]) -> None:
    told, store = honest(updates)
    told.updates[ADDRESSES[2]] = dataclasses.replace(told.updates[ADDRESSES[2]], update_bytes=5)
    line = only(checked(told, store), Step.CIPHERTEXTS, Status.FAIL)
    assert line.hospital == "hospital-3"
    assert "the ledger holds 5" in line.evidence


def test_bytes_that_were_committed_but_are_no_ciphertext_are_found(updates: tuple[Chunks, ...]) -> None:
    junk = (b"\xff" * len(updates[0][0]),) * 2
    told, store = recorded((junk, *updates[1:]), total(*updates[1:3]))
    report = checked(told, store)
    assert only(report, Step.CIPHERTEXTS, Status.FAIL).hospital == "hospital-1"
    assert only(report, Step.ADDITION, Status.MISSING)


@pytest.mark.parametrize("name", ["../../../etc/passwd", "", "A" * 64, "ab " * 32, "\0" * 64])
def test_a_name_that_is_no_hash_is_never_looked_up(updates: tuple[Chunks, ...], name: str) -> None:
    told, store = honest(updates)
    relist(store, 0, (name, name))
    assert only(checked(told, store), Step.CIPHERTEXTS, Status.FAIL).hospital == "hospital-1"
    assert name not in store.reads


def test_ciphertexts_of_somebody_who_committed_to_nothing_are_found(updates: tuple[Chunks, ...]) -> None:
    told, store = honest(updates)
    told.updates.pop(ADDRESSES[3])
    told.exclusions.clear()
    assert only(checked(told, store), Step.CIPHERTEXTS, Status.FAIL).hospital == "hospital-4"


def test_another_aggregate_than_the_recorded_one_is_found(updates: tuple[Chunks, ...]) -> None:
    told, store = honest(updates)
    store.files[1] = RoundFiles(store.keep(total(*updates[:2])), store.files[1].updates)
    report = checked(told, store)
    assert only(report, Step.CIPHERTEXTS, Status.FAIL).evidence.startswith("The stored aggregate is not the recorded")
    assert only(report, Step.ADDITION, Status.OK)  # what the ledger holds is the sum all the same


# ---- sums that are none ---------------------------------------------------------------------------------------------


def test_a_hospital_left_out_of_the_sum_is_named(updates: tuple[Chunks, ...]) -> None:
    report = checked(*recorded(updates, total(updates[0], updates[2])))
    line = only(report, Step.ADDITION, Status.FAIL)
    assert line.round_index == 1
    assert "Round 1" in line.evidence
    assert "ciphertext 1 of 2, where hospital-2's update is left out" in line.evidence
    assert not report.failed(Step.CIPHERTEXTS)
    assert report.exit_code == 7


def test_an_excluded_update_in_the_sum_is_named(updates: tuple[Chunks, ...]) -> None:
    line = only(checked(*recorded(updates, total(*updates))), Step.ADDITION, Status.FAIL)
    assert "hospital-4's update was added to" in line.evidence


def test_an_update_added_twice_is_named(updates: tuple[Chunks, ...]) -> None:
    line = only(checked(*recorded(updates, total(*updates[:3], updates[1]))), Step.ADDITION, Status.FAIL)
    assert "hospital-2's update was added once more" in line.evidence


def test_a_foreign_ciphertext_is_said_to_be_one(updates: tuple[Chunks, ...], foreign: Chunks) -> None:
    line = only(checked(*recorded(updates, total(*updates[:3], foreign))), Step.ADDITION, Status.FAIL)
    assert "a foreign ciphertext was added" in line.evidence


def test_the_first_ciphertext_that_differs_is_named(updates: tuple[Chunks, ...], foreign: Chunks) -> None:
    true, false = total(*updates[:3]), total(*updates[:3], foreign)
    line = only(checked(*recorded(updates, (true[0], false[1]))), Step.ADDITION, Status.FAIL)
    assert "differ first in ciphertext 2 of 2" in line.evidence


def test_a_wrong_sum_is_found_without_the_stored_aggregate(updates: tuple[Chunks, ...]) -> None:
    told, store = recorded(updates, total(*updates[:2]))
    store.files[1] = RoundFiles((), store.files[1].updates)
    report = checked(told, store)
    assert only(report, Step.CIPHERTEXTS, Status.MISSING).evidence == "The ciphertexts of the aggregate are not listed."
    assert "not here to compare with" in only(report, Step.ADDITION, Status.FAIL).evidence


def test_an_aggregate_of_another_length_is_found(updates: tuple[Chunks, ...]) -> None:
    line = only(checked(*recorded(updates, total(*updates[:3])[:1])), Step.ADDITION, Status.FAIL)
    assert "has 1 ciphertexts, the updates 2" in line.evidence


def test_updates_of_different_lengths_have_no_sum(updates: tuple[Chunks, ...]) -> None:
    shorter = (updates[0][:1], *updates[1:])
    line = only(checked(*recorded(shorter, total(*updates[:3]))), Step.ADDITION, Status.FAIL)
    assert "[1, 2] ciphertexts: they have no sum" in line.evidence


# ---- what is missing ------------------------------------------------------------------------------------------------


def test_missing_ciphertexts_are_counted(updates: tuple[Chunks, ...]) -> None:
    told, store = honest(updates)
    del store.chunks[store.files[1].updates[ADDRESSES[0]][1]]
    report = checked(told, store)
    line = only(report, Step.CIPHERTEXTS, Status.MISSING)
    assert line.evidence == "1 of 2 ciphertexts of hospital-1's update are missing."
    assert line.hospital == "hospital-1"
    assert "1 of their ciphertexts are missing" in only(report, Step.ADDITION, Status.MISSING).evidence
    assert report.exit_code == 8


def test_a_source_with_lists_but_no_ciphertexts_says_so_once(updates: tuple[Chunks, ...]) -> None:
    told, store = honest(updates)
    store.chunks.clear()
    report = checked(told, store)
    assert "10 of 10 ciphertexts of round 1" in only(report, Step.CIPHERTEXTS, Status.MISSING).evidence
    assert len(lines(report, Step.ADDITION, Status.MISSING)) == 1
    assert report.exit_code == 8


def test_a_source_without_lists_says_so_once(updates: tuple[Chunks, ...]) -> None:
    told, _ = honest(updates)
    report = checked(told, Store())
    assert [(line.step, line.status) for line in report.lines] == [
        (Step.CIPHERTEXTS, Status.MISSING),
        (Step.ADDITION, Status.MISSING),
    ]


def test_an_included_update_that_is_not_listed_is_missing(updates: tuple[Chunks, ...]) -> None:
    told, store = honest(updates)
    relist(store, 1, ())
    report = checked(told, store)
    assert only(report, Step.CIPHERTEXTS, Status.MISSING).hospital == "hospital-2"
    assert only(report, Step.ADDITION, Status.MISSING)


# ---- reasons to leave an update out ---------------------------------------------------------------------------------


def excluding(updates: tuple[Chunks, ...], reason: str) -> tuple[RoundStory, Store]:
    """The fourth hospital's update is left out for a reason."""
    told, store = honest(updates)
    told.exclusions[ADDRESSES[3]] = reason
    return told, store


def of_the_excluded(report: Report) -> list[Status]:
    return [line.status for line in report.lines if line.hospital == "hospital-4" and "not added" in line.evidence]


@pytest.mark.parametrize("reason", ["MalformedCiphertext", "ChunkMismatch"])
def test_a_reason_that_the_ciphertexts_refute_is_found(updates: tuple[Chunks, ...], reason: str) -> None:
    report = checked(*excluding(updates, reason))
    line = only(report, Step.CIPHERTEXTS, Status.FAIL)
    assert (line.hospital, line.round_index) == ("hospital-4", 1)
    assert f"not added ({reason}), but its 2 ciphertexts are here as committed" in line.evidence
    assert report.exit_code == 7


@pytest.mark.parametrize("reason", ["", "NotVerified", "Late", "WrongLength"])
def test_a_reason_that_nothing_shows_is_missing_evidence(updates: tuple[Chunks, ...], reason: str) -> None:
    assert of_the_excluded(checked(*excluding(updates, reason))) == [Status.MISSING]


@pytest.mark.parametrize("reason", ["MalformedCiphertext", "ChunkMismatch", "NotVerified"])
@pytest.mark.parametrize("how", ["not listed", "another list", "lost", "damaged"])
def test_a_reason_that_cannot_be_checked_is_missing_evidence(
    updates: tuple[Chunks, ...], reason: str, how: str
) -> None:
    told, store = excluding(updates, reason)
    names = store.files[1].updates[ADDRESSES[3]]
    match how:
        case "not listed":
            relist(store, 3, ())
        case "another list":
            relist(store, 3, names[:1])
        case "lost":
            del store.chunks[names[0]]
        case "damaged":
            store.chunks[names[0]] = b"damaged"
    assert of_the_excluded(checked(told, store)) == [Status.MISSING]


def spoiled(updates: tuple[Chunks, ...], how: str) -> tuple[Chunks, ...]:
    """The fourth hospital commits to what is no ciphertext."""
    chunk = updates[3][1]
    prime = MODULUS.to_bytes(8, "little")
    bad = {"junk": b"\xff" * len(chunk), "short": chunk[:-1], "the prime": chunk[:-8] + prime}[how]
    return (*updates[:3], (updates[3][0], bad))


def test_a_malformed_update_is_left_out_rightly(updates: tuple[Chunks, ...]) -> None:
    for how in ("junk", "the prime"):
        report = checked(*excluding(spoiled(updates, how), "MalformedCiphertext"))
        assert of_the_excluded(report) == [Status.OK], how
        assert report.exit_code == 0
    report = checked(*excluding(spoiled(updates, "junk"), "ChunkMismatch"))
    assert of_the_excluded(report) == [Status.FAIL]


def test_an_abstention_is_noted_and_an_update_is_none(updates: tuple[Chunks, ...]) -> None:
    told, store = excluding(updates, "Abstained")
    assert of_the_excluded(checked(told, store)) == [Status.FAIL]
    relist(store, 3, ())
    told.updates[ADDRESSES[3]] = dataclasses.replace(told.updates[ADDRESSES[3]], update_bytes=ABSTENTION_BYTES)
    report = checked(told, store)
    assert of_the_excluded(report) == [Status.NOTE]
    assert report.exit_code == 0


# ---- rounds without an aggregate ------------------------------------------------------------------------------------


def test_a_round_aborted_while_open_is_noted(updates: tuple[Chunks, ...]) -> None:
    aborted = story([committed(0, updates[0])], outcome=RoundPhase.ABORTED, abort_reason="quorum lost")
    report = checked(aborted, Store())
    assert only(report, Step.CIPHERTEXTS, Status.NOTE)
    store = Store()
    store.files[1] = RoundFiles((), {ADDRESSES[0]: store.keep(updates[0])})
    report = checked(aborted, store)
    assert only(report, Step.CIPHERTEXTS, Status.OK).hospital == "hospital-1"
    assert "quorum lost" in only(report, Step.ADDITION, Status.NOTE).evidence
    assert report.exit_code == 0


def test_a_round_in_which_nothing_was_committed_is_noted() -> None:
    assert [line.status for line in checked(story([]), Store()).lines] == [Status.NOTE]
