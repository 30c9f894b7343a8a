"""Ciphertexts, sums, budgets and checkpoints of a finished run, tampered with, and the step that the audit names."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from federation import Federation, keyless_ciphertexts, with_added
from tampering import FORMS, FinishedRun, Tampered, audit, finish, honest_run, save_archive

from blockchain.audit.report import Step
from blockchain.identity import Identity
from blockchain.signing.checkpoints import Checkpoint, SignedCheckpoint, sign_checkpoint
from fedward.ciphertexts.aggregation import aggregate
from fedward.ciphertexts.packing import round_plan
from fedward.ciphertexts.serialized import add_ciphertexts
from fedward.files import merkle_root, sha256
from fedward.privacy.mechanism import expected_event
from fedward.types import EncryptedAggregate, PrivateUpdate, VerifiedUpdate

CIPHERTEXTS, PRIVACY, C = Step.CIPHERTEXTS, Step.PRIVACY, Step.CHECKPOINTS


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    return honest_run(tmp_path_factory.getbasetemp())


# ---- what is handed over --------------------------------------------------------------------------------------------


def first_update(copy: Tampered, hospital: str, round_index: int = 1) -> list[str]:
    names: list[str] = copy.rounds[round_index]["updates"][copy.run.hospitals[hospital].address]  # type: ignore[index]
    return names


def flip_a_bit(copy: Tampered) -> None:
    name = first_update(copy, "hospital-2")[3]
    content = copy.chunks[name]
    middle = len(content) // 2
    copy.chunks[name] = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def swap_lists(copy: Tampered) -> None:
    mine, theirs = first_update(copy, "hospital-2"), first_update(copy, "hospital-3")
    mine[0], theirs[0] = theirs[0], mine[0]


def swap_files(copy: Tampered) -> None:
    mine, theirs = first_update(copy, "hospital-2")[0], first_update(copy, "hospital-3")[0]
    copy.chunks[mine], copy.chunks[theirs] = copy.chunks[theirs], copy.chunks[mine]


def total(updates: Sequence[Sequence[bytes]]) -> list[bytes]:
    running = list(updates[0])
    for update in updates[1:]:
        running = [add_ciphertexts(left, right) for left, right in zip(running, update, strict=True)]
    return running


def store_without_one(copy: Tampered) -> None:
    """The stored aggregate is the sum of all but one, under its own hashes."""
    kept = [[copy.chunks[name] for name in first_update(copy, f"hospital-{number}")] for number in (1, 3)]
    copy.rounds[1]["aggregate"] = copy.keep(total(kept))


def store_with_a_strangers(copy: Tampered) -> None:
    """A ciphertext of another round was added to the stored aggregate."""
    names = copy.rounds[1]["aggregate"], first_update(copy, "hospital-1", round_index=2)
    copy.rounds[1]["aggregate"] = copy.keep(total([[copy.chunks[name] for name in part] for part in names]))


def more_noise(copy: Tampered) -> None:
    copy.claimed_noise = 2.0


def less_noise(copy: Tampered) -> None:
    copy.claimed_noise = 0.5


def other_settings(copy: Tampered) -> None:
    """The settings say what the epsilon says."""
    copy.claimed_noise = copy.settings_noise = 0.5


def sign_fork(copy: Tampered, who: Identity) -> SignedCheckpoint:
    """hospital-1's last checkpoint, of another block."""
    mine = copy.run.hospitals["hospital-1"].address  # type: ignore[index]
    seen: Checkpoint = max(
        (one.checkpoint for one in copy.checkpoints if one.checkpoint.hospital == mine), key=lambda each: each.height
    )
    return sign_checkpoint(replace(seen, block_hash=bytes([7]) * 32), who)


def fork_in_evidence(copy: Tampered) -> None:
    copy.checkpoints += (sign_fork(copy, copy.run.hospitals["hospital-1"]),)  # type: ignore[index]


def fork_in_trust(copy: Tampered) -> None:
    fork = sign_fork(copy, copy.run.hospitals["hospital-1"])  # type: ignore[index]
    copy.trust = replace(copy.run.trust, checkpoints=(*copy.run.trust.checkpoints, fork))


def forged_checkpoint(copy: Tampered) -> None:
    copy.checkpoints += (sign_fork(copy, copy.run.server),)


@dataclass(frozen=True)
class Case:
    """A way to tamper, the steps that fail, and what the last line says."""

    name: str
    tamper: Callable[[Tampered], None]
    steps: tuple[Step, ...]
    says: str


CASES = [
    Case("a flipped bit", flip_a_bit, (CIPHERTEXTS,), "round 1, hospital-2: Hospital-2's update, ciphertext 4 of"),
    Case("swapped in the list", swap_lists, (CIPHERTEXTS,), "round 1, hospital-2"),
    Case("swapped on the disk", swap_files, (CIPHERTEXTS,), "round 1, hospital-2"),
    Case("stored aggregate without one", store_without_one, (CIPHERTEXTS,), "round 1: The stored aggregate is not"),
    Case("stored aggregate with another's", store_with_a_strangers, (CIPHERTEXTS,), "The stored aggregate is not"),
    Case("a higher noise multiplier's epsilon", more_noise, (PRIVACY,), "hospital-1: The run states an epsilon of"),
    Case("a lower noise multiplier's epsilon", less_noise, (PRIVACY,), "hospital-1: The run states an epsilon of"),
    Case("its settings as well", other_settings, (PRIVACY,), "The settings have the digest"),
    Case("a checkpoint of another fork", fork_in_evidence, (C,), "hospital-1: A fork"),
    Case("a trusted checkpoint of another fork", fork_in_trust, (C,), "hospital-1: A fork"),
    Case("a checkpoint that the server signed", forged_checkpoint, (C,), "but is signed by"),
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_what_is_handed_over(finished: FinishedRun, tmp_path: Path, case: Case, form: str) -> None:
    copy = Tampered.of(finished)
    case.tamper(copy)
    verdict = audit(copy.save(form, tmp_path / "copy"), copy.trust)
    assert verdict.exit_code == 7
    assert verdict.failed() == list(case.steps), verdict.output
    assert verdict.last.startswith(f"not verified: step {case.steps[0].number} {case.steps[0].label}"), verdict.last
    assert case.says.lower() in verdict.last.lower()


# ---- a server that records what it should not -----------------------------------------------------------------------


@contextmanager
def adding(how: Callable[[list[VerifiedUpdate], list[bytes]], list[bytes]], run: Federation) -> Iterator[None]:
    """A server that records another sum than the honest one, and says that all are in it."""

    def dishonest(updates: list[VerifiedUpdate], store: Path) -> EncryptedAggregate:
        honest = aggregate(updates, store)
        sums = how(updates, [path.read_bytes() for path in honest.chunk_files])
        files = tuple(run.folder.server.ciphertexts.store(chunk) for chunk in sums)
        return EncryptedAggregate(files, merkle_root([sha256(chunk) for chunk in sums]), honest.included)

    with mock.patch("server.aggregate", dishonest):
        yield


def lead_dishonestly(run: Federation) -> None:
    """One honest round, one with something of the server's own, one without hospital-2's update.

    The hospitals accept the second, which they cannot tell from an honest one; the third decodes to nothing, since they
    release the keys of all that are said to be in it.
    """

    def without_one(updates: list[VerifiedUpdate], _sums: list[bytes]) -> list[bytes]:
        victim = run.folder.server.load_record().roster[1].address
        return total([[path.read_bytes() for path in one.chunk_files] for one in updates if one.hospital != victim])

    def with_a_strangers(_updates: list[VerifiedUpdate], sums: list[bytes]) -> list[bytes]:
        lead = run.server()
        plan = round_plan(lead.parameters, 3, run.settings)
        nothing = PrivateUpdate(np.zeros(lead.parameters, np.float32), expected_event(run.settings.privacy))
        return list(with_added(sums, keyless_ciphertexts(nothing, plan)))

    assert run.lead_round()["phase"] == "accepted"
    for how, phase in ((with_a_strangers, "accepted"), (without_one, "rejected")):
        with adding(how, run):
            assert run.lead_round()["phase"] == phase


@pytest.fixture(scope="module")
def dishonest(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    return finish(tmp_path_factory.mktemp("dishonest"), lead_dishonestly)


@pytest.mark.parametrize("form", FORMS)
def test_a_recorded_sum_of_others_than_it_says(dishonest: FinishedRun, tmp_path: Path, form: str) -> None:
    """Everything else is in order: hashes, signatures, votes, and what the hospitals saw."""
    copy = Tampered.of(dishonest)
    verdict = audit(copy.save(form, tmp_path / "copy"), copy.trust)
    assert verdict.exit_code == 7
    assert verdict.failed() == [Step.ADDITION], verdict.output
    assert verdict.last.startswith("not verified: step 11 addition, round 2: ")
    assert "a foreign ciphertext was added" in verdict.last
    (third,) = [line for line in verdict.output.splitlines() if line.strip().startswith("round 3") and "FAIL" in line]
    assert "hospital-2's update is left out of the recorded aggregate" in third


def test_without_the_ciphertexts_a_wrong_sum_is_not_verified_either(dishonest: FinishedRun, tmp_path: Path) -> None:
    copy = Tampered.of(dishonest)
    copy.chunks = {}
    verdict = audit(copy.save("bundle", tmp_path / "copy"), copy.trust)
    assert verdict.exit_code == 8
    assert verdict.failed() == []
    assert verdict.last.startswith("incomplete: step 10 ciphertexts, round 1: ")


# ---- nothing of it is true ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def invented(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """Another consortium altogether, as anybody can make one at home."""

    def lead(federation: Federation) -> None:
        assert federation.lead_round()["phase"] == "accepted"

    return finish(tmp_path_factory.mktemp("invented"), lead)


@pytest.mark.parametrize("form", FORMS)
def test_a_wholly_invented_chain(finished: FinishedRun, invented: FinishedRun, tmp_path: Path, form: str) -> None:
    path = Tampered.of(invented).save(form, tmp_path / "copy")
    alone = audit(path, None)
    assert (alone.exit_code, alone.failed()) == (8, []), alone.output
    assert alone.last.startswith("incomplete: step 2 genesis: ")
    assert "--trust" in alone.last
    beside = audit(path, finished.trust)
    assert beside.exit_code == 7
    assert beside.last.startswith("not verified: step 2 genesis: ")
    assert beside.failed()[0] is Step.GENESIS


MEMBERS = ("artifact.json", "blocks.rlp", "checkpoints.jsonl", "genesis.json", "manifest.json")


@pytest.mark.parametrize(
    ("content", "exit_code"),
    [(b"", 8), ({}, 8), (dict.fromkeys(MEMBERS, b""), 7), (np.random.default_rng(3).bytes(50_000), 7)],
    ids=["an empty file", "an archive of nothing", "an archive of empty members", "random bytes"],
)
def test_no_bundle_at_all(
    finished: FinishedRun, tmp_path: Path, content: bytes | dict[str, bytes], exit_code: int
) -> None:
    if isinstance(content, bytes):
        (tmp_path / "bundle").write_bytes(content)
    else:
        save_archive(tmp_path / "bundle", content)
    verdict = audit(tmp_path / "bundle", finished.trust)
    assert verdict.exit_code == exit_code
    assert verdict.failed() == ([Step.EVIDENCE] if exit_code == 7 else [])
    assert verdict.last.startswith(("incomplete" if exit_code == 8 else "not verified") + ": step 1 evidence: ")
