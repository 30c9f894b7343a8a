"""Forks are found by what others signed, and by a second node; what is merely behind or ahead is none."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import pytest

from blockchain.consortium.forks import fork_at_second_node, fork_seen_by, read_others_checkpoint
from blockchain.consortium.remembering import check_remembered
from blockchain.identity import Identity
from blockchain.signing.checkpoints import Checkpoint, SignedCheckpoint, sign_checkpoint
from commands.serve.fork_watch import left_by
from fedward.errors import VerificationError
from fedward.folders.hospital import HospitalFolder
from fedward.folders.key_board import KeyBoardFolder
from fedward.messages.signed import write_signed
from fedward.types import Address

CONTRACT = Address("0x" + "11" * 20)


@dataclass(frozen=True)
class Told:
    """A chain as a node tells it."""

    hashes: tuple[bytes, ...]
    chain_id: int = 7
    contract: Address = CONTRACT

    def genesis_hash(self) -> bytes:
        return self.hashes[0]

    def block_hash(self, height: int) -> bytes | None:
        return self.hashes[height] if height < len(self.hashes) else None

    def witnesses(self) -> tuple[Address, ...]:
        return ()


HERE = Told(tuple(bytes([height]) * 32 for height in range(6)))
FORK = Told((*HERE.hashes[:4], b"\xaa" * 32, b"\xbb" * 32))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return Identity.create(tmp_path_factory.mktemp("other") / "identity")


def seen(chain: Told, height: int, hospital: Identity) -> SignedCheckpoint:
    block_hash = chain.block_hash(height) or b"\xcc" * 32
    place = Checkpoint(chain.chain_id, chain.contract, hospital.address, 1, height, block_hash, b"\x01" * 32)
    return sign_checkpoint(place, hospital)


@pytest.mark.parametrize("height", [0, 3, 5, 6, 100])
def test_a_hospital_that_saw_these_blocks_or_later_ones_shows_no_fork(other: Identity, height: int) -> None:
    assert fork_seen_by([seen(HERE, height, other)], HERE) is None


def test_a_hospital_that_saw_other_blocks_shows_the_fork(other: Identity) -> None:
    assert fork_seen_by([seen(FORK, 3, other)], HERE) is None, "up to there they are one chain"
    found = fork_seen_by([seen(HERE, 2, other), seen(FORK, 4, other)], HERE)
    assert found is not None
    assert found.startswith(f"{other.address} signed that block 4 is {'aa' * 32}")
    # And the other way round, for whoever is shown the fork.
    assert fork_seen_by([seen(HERE, 5, other)], FORK) is not None


@pytest.mark.parametrize("changed", [{"chain_id": 8}, {"contract": Address("0x" + "22" * 20)}])
def test_a_hospital_that_follows_another_ledger_shows_it(other: Identity, changed: dict[str, object]) -> None:
    found = fork_seen_by([seen(dataclasses.replace(HERE, **changed), 2, other)], HERE)  # type: ignore[arg-type]
    assert found is not None
    assert "follows contract" in found


def test_a_second_node_with_other_blocks_shows_the_fork_and_one_that_is_behind_none(other: Identity) -> None:
    own = seen(HERE, 4, other)
    assert fork_at_second_node(own, HERE) is None
    assert fork_at_second_node(own, Told(HERE.hashes[:3])) is None
    assert fork_at_second_node(own, FORK) is not None


def test_a_checkpoint_counts_only_if_the_hospital_that_it_names_signed_it(other: Identity, tmp_path: Path) -> None:
    """Else a server could halt a study by a fork that nobody saw, or hide one behind an unsigned checkpoint."""
    good, stranger = seen(HERE, 4, other), Identity.create(tmp_path / "stranger")
    assert read_others_checkpoint(write_signed(good), other.address) == good
    forged = SignedCheckpoint(good.checkpoint, sign_checkpoint(good.checkpoint, stranger).signature)
    for content in (write_signed(forged), write_signed(seen(HERE, 4, stranger)), b"", b"{}", write_signed(good)[:-1]):
        with pytest.raises(VerificationError):
            read_others_checkpoint(content, other.address)


def test_what_one_hospital_left_hides_nothing_that_another_has_signed(other: Identity, tmp_path: Path) -> None:
    board, said = KeyBoardFolder(tmp_path), list[str]()
    liar, absent = Identity.create(tmp_path / "liar").address, Identity.create(tmp_path / "absent").address
    board.save_checkpoint(liar, b"nonsense")
    board.save_checkpoint(other.address, write_signed(seen(FORK, 4, other)))
    found = left_by([liar, absent, other.address], board.load_checkpoint, said.append)
    assert [one.checkpoint.hospital for one in found] == [other.address]
    assert fork_seen_by(found, HERE) is not None
    (sentence,) = said
    assert liar in sentence


def test_a_hospital_that_found_a_fork_checks_no_ledger_until_a_person_removes_the_file(tmp_path: Path) -> None:
    folder = HospitalFolder.create(tmp_path / "hospital")
    check_remembered(folder, HERE)
    folder.fork.write_text("{}")
    with pytest.raises(VerificationError, match=r"other blocks than this hospital was shown.*fork\.json"):
        check_remembered(folder, HERE)
    folder.fork.unlink()
    check_remembered(folder, HERE)
