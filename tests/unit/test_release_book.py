"""One set, one release: across retries, crashes and damage; and secrets are gone when a round is forgotten."""

import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from source_tree import ROOT

from fedward.errors import EvidenceError, FedwardError, ResourceError, VerificationError
from fedward.folders.hospital import HospitalFolder
from fedward.folders.release_book import ReleaseBook
from fedward.sharing.modular import uniform
from fedward.sharing.terms import Purpose

UPDATES, COUNTS = Purpose.UPDATES, Purpose.COUNTS
HASH, OTHER = b"h" * 32, b"o" * 32


@pytest.fixture
def book(tmp_path: Path) -> ReleaseBook:
    return HospitalFolder.create(tmp_path / "hospital").sharing


def never() -> bytes:
    """For what was written down already: nothing is made anew."""
    raise AssertionError("what was written down is sent, and nothing is made")


def test_asked_again_the_same_bytes_come_back(book: ReleaseBook) -> None:
    assert book.released_for(3, UPDATES) is None
    assert book.release_once(3, UPDATES, 0b111, HASH, lambda: b"first\nwith lines") == b"first\nwith lines"
    assert book.release_once(3, UPDATES, 0b111, HASH, never) == b"first\nwith lines"
    assert ReleaseBook(book.path).release_once(3, UPDATES, 0b111, HASH, never) == b"first\nwith lines"


@pytest.mark.parametrize(("mask", "sum_hash"), [(0b110, HASH), (0b1111, HASH), (0b111, OTHER), (2**255, OTHER)])
def test_a_second_set_or_sum_is_refused(book: ReleaseBook, mask: int, sum_hash: bytes) -> None:
    book.release_once(3, UPDATES, 0b111, HASH, lambda: b"first")
    with pytest.raises(
        VerificationError, match=r"released its shares of round 3 for another set or sum of updates"
    ) as e:
        book.release_once(3, UPDATES, mask, sum_hash, lambda: b"second")
    assert e.value.what.count(". ") == 0
    assert book.release_once(3, UPDATES, 0b111, HASH, never) == b"first"
    assert b"second" not in b"".join(path.read_bytes() for path in book.path.rglob("*") if path.is_file())


def test_rounds_and_purposes_are_apart(book: ReleaseBook) -> None:
    book.release_once(3, UPDATES, 0b111, HASH, lambda: b"updates of 3")
    book.release_once(3, COUNTS, 0b011, OTHER, lambda: b"counts of 3")
    book.release_once(4, UPDATES, 0b101, OTHER, lambda: b"updates of 4")
    assert book.release_once(3, UPDATES, 0b111, HASH, never) == b"updates of 3"
    assert book.release_once(3, COUNTS, 0b011, OTHER, never) == b"counts of 3"
    assert book.release_once(4, UPDATES, 0b101, OTHER, never) == b"updates of 4"
    assert book.released_for(4, COUNTS) is None


def test_one_challenge_is_answered(book: ReleaseBook) -> None:
    assert book.answer_once(3, HASH, lambda: b"first") == b"first"
    assert book.answer_once(3, HASH, never) == b"first"
    with pytest.raises(VerificationError, match="answered about its shares of round 3 under another head"):
        book.answer_once(3, OTHER, lambda: b"second")
    assert book.answer_once(3, HASH, never) == b"first"


def test_shares_and_keys_come_back_as_they_were(book: ReleaseBook) -> None:
    assert book.shares(3) is book.dealing(3) is book.counts_key(3) is None
    shares = {dealer: uniform((7,)) for dealer in (5, 1, 2)}
    dealt, key = uniform((5, 7)), uniform((4,))
    book.keep_shares(3, shares)
    book.keep_dealing(3, dealt)
    book.keep_counts_key(3, key)
    again = book.shares(3)
    assert again is not None
    assert list(again) == [1, 2, 5]
    assert all(np.array_equal(again[dealer], share) for dealer, share in shares.items())
    assert np.array_equal(book.dealing(3), dealt)
    assert np.array_equal(book.counts_key(3), key)


def test_only_the_owner_can_read_what_is_here(book: ReleaseBook) -> None:
    book.keep_shares(3, {1: uniform((7,))})
    book.release_once(3, UPDATES, 1, HASH, lambda: b"first")
    for path in book.path.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_a_forgotten_round_has_no_secret_left_and_still_gives_the_same_bytes(book: ReleaseBook) -> None:
    for number in (3, 4):
        book.keep_shares(number, {1: uniform((7,))})
        book.keep_dealing(number, uniform((5, 7)))
        book.keep_counts_key(number, uniform((4,)))
    book.answer_once(3, HASH, lambda: b"answers")
    book.release_once(3, UPDATES, 1, HASH, lambda: b"first")
    unfinished = book.path / "round-0003" / ".00ff.part"  # as a crash leaves it
    unfinished.write_bytes(b"half a share")
    assert book.unforgotten() == (3, 4)
    book.forget_round(3)
    assert book.unforgotten() == (4,)
    assert sorted(path.name for path in (book.path / "round-0003").iterdir()) == ["answers", "release-updates"]
    assert book.shares(3) is book.dealing(3) is book.counts_key(3) is None
    assert book.shares(4) is not None
    assert book.release_once(3, UPDATES, 1, HASH, lambda: b"") == b"first"
    with pytest.raises(VerificationError):
        book.release_once(3, UPDATES, 3, HASH, lambda: b"")
    book.forget_round(3)
    book.forget_round(99)


@pytest.mark.parametrize("content", [b"", b"\n", b"{}\nx", b"no line", b'{"included_mask":"00","sum_hash":"00"}\nx'])
def test_where_it_cannot_be_told_what_left_nothing_leaves(book: ReleaseBook, content: bytes) -> None:
    book.release_once(3, UPDATES, 1, HASH, lambda: b"first")
    file = book.path / "round-0003" / "release-updates"
    file.write_bytes(content)
    with pytest.raises(EvidenceError):
        book.release_once(3, UPDATES, 1, HASH, lambda: b"second")
    assert file.read_bytes() == content
    file.unlink()
    file.symlink_to(book.path / "nowhere")
    with pytest.raises(EvidenceError):
        book.release_once(3, UPDATES, 1, HASH, lambda: b"second")
    file.unlink()
    file.mkdir()
    with pytest.raises(EvidenceError):
        book.release_once(3, UPDATES, 1, HASH, lambda: b"second")


@pytest.mark.parametrize(
    "content", [b"", b'{"names":[1]}\n1234567', b'{"names":[]}\n', b'{"names":[1,2]}\n' + bytes(24)]
)
def test_damaged_shares_are_said_to_be(book: ReleaseBook, content: bytes) -> None:
    book.keep_shares(3, {1: uniform((7,))})
    (book.path / "round-0003" / "shares").write_bytes(content)
    with pytest.raises(EvidenceError):
        book.shares(3)


def test_where_nothing_can_be_written_nothing_is_returned(book: ReleaseBook) -> None:
    book.release_once(3, UPDATES, 1, HASH, lambda: b"first")
    (book.path / "round-0004").write_bytes(b"something that lies in the way")
    with pytest.raises(ResourceError):
        book.release_once(4, UPDATES, 1, HASH, lambda: b"first")


# Dies by SIGKILL before the n-th call that reaches the disk, for every n; a forked child each, so that one start is
# enough. It prints, for each n, what the child could have sent: only what `release_once` returned.
DYING = """
import os, signal, sys
from pathlib import Path
from fedward.folders.release_book import ReleaseBook
from fedward.sharing.terms import Purpose

def dies_before(call, left):
    def counted(*args, **kwargs):
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        return call(*args, **kwargs)
    return counted

for number in range(1000):
    folder, sent = Path(sys.argv[1]) / str(number), Path(sys.argv[1]) / f"{number}.sent"
    folder.mkdir()
    child = os.fork()
    if child == 0:
        left = [number]
        for name in ("open", "fsync", "replace", "mkdir"):
            setattr(os, name, dies_before(getattr(os, name), left))
        content = ReleaseBook(folder).release_once(3, Purpose.UPDATES, 7, b"h" * 32, lambda: b"before")
        left[0] = 1000
        sent.write_bytes(content)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        assert os.WEXITSTATUS(status) == 0
        print(number)
        break
    assert os.WTERMSIG(status) == signal.SIGKILL
"""


def test_a_crash_at_any_moment_leaves_nothing_or_what_was_sent(tmp_path: Path) -> None:
    """Between write and send above all: the same bytes come back, and no other set's."""
    done = subprocess.run([sys.executable, "-c", DYING, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    kills = int(done.stdout)
    assert kills >= 8
    written = 0
    for number in range(kills + 1):
        book, sent = ReleaseBook(tmp_path / str(number)), tmp_path / f"{number}.sent"
        kept = None if book.released_for(3, UPDATES) is None else book.release_once(3, UPDATES, 7, HASH, never)
        assert kept in (None, b"before")
        if sent.exists():
            assert kept == sent.read_bytes() == b"before"
        if kept is None:
            assert book.release_once(3, UPDATES, 5, OTHER, lambda: b"after") == b"after"
        else:
            written += 1
            assert book.release_once(3, UPDATES, 7, HASH, lambda: b"after") == b"before"
            with pytest.raises(FedwardError):
                book.release_once(3, UPDATES, 5, OTHER, lambda: b"after")
    assert written >= 2, "none of them died between write and send"
