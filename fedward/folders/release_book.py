"""What a hospital keeps of the rounds' shared keys, and the rule of once: one set, one release.

Whoever has two releases of one round for two sets that differ by a hospital knows that hospital's update. So a release
is written down, with its set, before it leaves; asked again, the hospital gives the same bytes, and for another set
none. Likewise with answers about shares: two challenges would tell more than one.

FOLDER/round-0001/
  dealt  shares  counts.key         secrets, until the round is over: `forget_round` removes them
  answers  release-updates  vote    what left, or was about to; kept for good
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from fedward.checked_json import checked_json, to_json
from fedward.errors import EncryptionError, EvidenceError, VerificationError
from fedward.files import PART, make_folder, read_file, remove_file, write_atomic
from fedward.sharing.modular import Residues, from_bytes, to_bytes
from fedward.sharing.terms import Purpose
from fedward.types import Word

PRIVATE = 0o600
MAX_BYTES = 64 * 1024 * 1024  # of a file; the shares of 128 hospitals have less than 9 MB
_SECRETS = ("dealt", "shares", "counts.key")
_RESTORE = "Restore it from a backup made since, or take no part in this round."

Head = TypeVar("Head")


@dataclass(frozen=True)
class _Rows:
    """The first line of a file of residues: how its rows are called."""

    names: tuple[int, ...]


@dataclass(frozen=True)
class _Challenge:
    """The first line of a file of answers: where the ledger stood when they were asked for."""

    ledger_head: Word


@dataclass(frozen=True)
class _Sum:
    """The first line of a file of a release: which sum it helps to open."""

    included_mask: Word
    sum_hash: Word


@dataclass(frozen=True)
class _Once:
    """The first line of a file of which there is one a round, whatever it is about."""


class ReleaseBook:
    """Reads and writes the folder; every file is whole or not there, and readable by its owner only.

    Whoever writes holds the lock of the hospital's folder (`HospitalFolder.locked`).

    Guarantees:
        1. `answer_once` and `release_once` return what is on the disk, flushed, and so survive a crash at any moment:
           before it, nothing has left; after it, the same bytes come back.
        2. For one round they return one content for ever, whatever else is asked for, and also where the file is
           damaged: then they return none.

    Limits: a folder that is restored from a backup knows only what it knew then. Removed files may be read from the
    disk itself; encrypt the disk.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def keep_dealing(self, round_index: int, shares: Residues) -> None:
        """Keep the shares that this hospital deals, until it has stated what they must answer: (holders, width)."""
        self._write_rows(round_index, "dealt", dict(enumerate(shares, 1)))

    def dealing(self, round_index: int) -> Residues | None:
        """The shares that this hospital dealt: uint64, shape (holders, width); None where they are not here.

        Raises:
            EvidenceError, VerificationError: the file is damaged.
        """
        rows = self._read_rows(round_index, "dealt")
        return np.stack([rows[name] for name in sorted(rows)]) if rows else None

    def forget_dealing(self, round_index: int) -> None:
        """Remove the shares that this hospital dealt: together they are its key."""
        remove_file(self._file(round_index, "dealt"))

    def keep_counts_key(self, round_index: int, key: Residues) -> None:
        """Keep the key of this hospital's validation counts, until its ballot has left: (entries,)."""
        self._write_rows(round_index, "counts.key", {0: key})

    def counts_key(self, round_index: int) -> Residues | None:
        """The key of this hospital's validation counts: uint64, shape (entries,); None where it is not here.

        Raises:
            EvidenceError, VerificationError: the file is damaged.
        """
        rows = self._read_rows(round_index, "counts.key")
        return rows[0] if rows else None

    def forget_counts_key(self, round_index: int) -> None:
        """Remove the key of this hospital's validation counts, once they are encrypted."""
        remove_file(self._file(round_index, "counts.key"))

    def keep_shares(self, round_index: int, shares: Mapping[int, Residues]) -> None:
        """Keep the shares that this hospital opened, by dealer, until it has released their sum: (width,) each."""
        self._write_rows(round_index, "shares", shares)

    def shares(self, round_index: int) -> dict[int, Residues] | None:
        """The shares that this hospital opened, by dealer; None where they are not here.

        Raises:
            EvidenceError, VerificationError: the file is damaged.
        """
        return self._read_rows(round_index, "shares")

    def answer_once(self, round_index: int, ledger_head: bytes, make: Callable[[], bytes]) -> bytes:
        """Write answers down before they leave.

        Args:
            round_index: The round.
            ledger_head: 32 bytes; where the ledger stood.
            make: Makes the answers as they would be sent; called where none were written down.

        Returns:
            What to send: what was made, or what was written down before.

        Raises:
            VerificationError: answers under another head were written down.
            EvidenceError: it cannot be told what was.
            ResourceError: the disk is full; nothing may be sent.
        """
        return self._once(
            round_index,
            "answers",
            _Challenge(ledger_head),
            make,
            "This hospital has answered about its shares of round {} under another head of the ledger.",
        )

    def release_once(
        self, round_index: int, purpose: Purpose, included_mask: int, sum_hash: bytes, make: Callable[[], bytes]
    ) -> bytes:
        """Write a release down before it leaves.

        Args:
            round_index: The round.
            purpose: Which of the round's sums.
            included_mask: The set that the ledger fixed, as the release names it; below 2^256.
            sum_hash: 32 bytes; names the ciphertexts of the sum.
            make: Makes the release as it would be sent; called where none was written down.

        Returns:
            What to send: what was made, or what was written down before.

        Raises:
            VerificationError: a release for another set, or of another sum, was written down.
            EvidenceError: it cannot be told what was.
            ResourceError: the disk is full; nothing may be sent.
        """
        return self._once(
            round_index,
            _release_file(purpose),
            _Sum(included_mask.to_bytes(32, "big"), sum_hash),
            make,
            f"This hospital has released its shares of round {{}} for another set or sum of {purpose.name.lower()}.",
        )

    def released_for(self, round_index: int, purpose: Purpose) -> tuple[int, bytes] | None:
        """For which set (the release's mask) and sum (32 bytes) this hospital has released; None: for none yet.

        Raises:
            EvidenceError, VerificationError: the file is damaged.
        """
        given = self._read(_Sum, round_index, _release_file(purpose))
        return (int.from_bytes(given[0].included_mask, "big"), given[0].sum_hash) if given else None

    def last_release_before(self, round_index: int) -> int | None:
        """The latest round before this one in which this hospital released for a sum of updates."""
        files = self.path.glob(f"round-*/{_release_file(Purpose.UPDATES)}")
        rounds = (int(file.parent.name.removeprefix("round-")) for file in files)
        return max((each for each in rounds if each < round_index), default=None)

    def vote(self, round_index: int) -> bytes | None:
        """The signed vote that was given in a round, or was about to be; None where none was.

        Raises:
            EvidenceError, VerificationError: the file is damaged.
        """
        given = self._read(_Once, round_index, "vote")
        return given[1] if given else None

    def vote_once(self, round_index: int, content: bytes) -> bytes:
        """Write a signed vote down before it leaves; returns what was written down first.

        Raises:
            EvidenceError, VerificationError: the file is damaged.
            ResourceError: the disk is full; nothing may be sent.
        """
        return self._once(round_index, "vote", _Once(), lambda: content, "This hospital has voted in round {}.")

    def unforgotten(self) -> tuple[int, ...]:
        """The rounds of which secrets are still here, ascending."""
        rounds = {path.parent.name for name in (*_SECRETS, f".*{PART}") for path in self.path.glob(f"round-*/{name}")}
        return tuple(sorted(int(name.removeprefix("round-")) for name in rounds))

    def forget_round(self, round_index: int) -> None:
        """Remove shares and keys of a round that is over, and what a crash left of them; what left stays.

        When enough hospitals have done so, nobody can open that round's updates any more.

        Raises:
            ResourceError: something cannot be removed.
        """
        unfinished = self.path.glob(f"{_round_name(round_index)}/.*{PART}")
        for path in (*(self._file(round_index, name) for name in _SECRETS), *unfinished):
            remove_file(path)

    def _once(self, round_index: int, name: str, head: object, make: Callable[[], bytes], refusal: str) -> bytes:
        """What was written down under this name, if it has this head; where nothing was, what is made now."""
        given = self._read(type(head), round_index, name)
        if given is None:
            content = make()
            self._write(round_index, name, head, content)
            return content
        if given[0] != head:
            raise VerificationError(
                refusal.format(round_index), "It does so once; ask the server why it asks again for something else."
            )
        return given[1]

    def _write_rows(self, round_index: int, name: str, rows: Mapping[int, Residues]) -> None:
        names = tuple(sorted(rows))
        self._write(round_index, name, _Rows(names), b"".join(to_bytes(rows[each]) for each in names))

    def _read_rows(self, round_index: int, name: str) -> dict[int, Residues] | None:
        found = self._read(_Rows, round_index, name)
        if found is None:
            return None
        names, content = found[0].names, found[1]
        try:
            residues = from_bytes(content)
        except EncryptionError as error:
            raise self._damaged(round_index, name) from error
        if not names or residues.size % len(names):
            raise self._damaged(round_index, name)
        return dict(zip(names, residues.reshape(len(names), -1), strict=True))

    def _write(self, round_index: int, name: str, head: object, content: bytes) -> None:
        path = self._file(round_index, name)
        make_folder(path.parent)
        write_atomic(path, json.dumps(to_json(head)).encode() + b"\n" + content, PRIVATE)

    def _read(self, kind: type[Head], round_index: int, name: str) -> tuple[Head, bytes] | None:
        """The first line and what follows; None where there is no file."""
        path = self._file(round_index, name)
        if not path.exists() and not path.is_symlink():
            return None
        what = f"What this hospital keeps of round {round_index}"
        line, newline, content = read_file(path, MAX_BYTES, what, _RESTORE).partition(b"\n")
        if not newline:
            raise self._damaged(round_index, name)
        return checked_json(kind, line, f"{what} in {path}", EvidenceError, _RESTORE), content

    def _file(self, round_index: int, name: str) -> Path:
        return self.path / _round_name(round_index) / name

    def _damaged(self, round_index: int, name: str) -> EvidenceError:
        return EvidenceError(f"{self._file(round_index, name)} is damaged.", _RESTORE)


def _round_name(round_index: int) -> str:
    return f"round-{round_index:04d}"


def _release_file(purpose: Purpose) -> str:
    return f"release-{purpose.name.lower()}"
