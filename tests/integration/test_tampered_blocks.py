"""The chain of a finished run, tampered with by a server that mends what it can, and the step that the audit names.

Three servers: a naive one that changes a block as it lies there; one that links every later block anew; and one that
runs all transactions again from the change on, so that only those who saw the true chain can tell. Where it says that
the hospitals were deceived, they never saw another chain than the forged one and signed it, for they run nothing again
themselves: what is then found does not hang on them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from forged_chains import (
    EXTRA,
    HEADER,
    RECEIPT_ROOT,
    STATE,
    TIMESTAMP,
    TRANSACTIONS,
    input_of,
    linked,
    nonce_of,
    renumbered,
    sent_again,
)
from tampering import FORMS, FinishedRun, Tampered, audit, honest_run

from blockchain.audit.report import Status, Step

E, H, R, S, X = Step.EVIDENCE, Step.HEADERS, Step.ROOTS, Step.SENDERS, Step.EXECUTION
C, K, N = Step.CHECKPOINTS, Step.SHARES, Step.COUNTS


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    return honest_run(tmp_path_factory.getbasetemp())


@pytest.mark.parametrize("form", FORMS)
def test_the_copy_itself_is_verified(finished: FinishedRun, tmp_path: Path, form: str) -> None:
    """What the tests below change is what is found, not that evidence was written again."""
    copy = Tampered.of(finished)
    assert copy.mine().bodies == Tampered.of(finished).bodies  # the forger's miner is the ledger's, to the byte
    verdict = audit(copy.save(form, tmp_path / "copy"), copy.trust)
    assert verdict.exit_code == 0, verdict.output
    assert set(verdict.steps.values()) == {Status.OK}


# ---- what is changed ------------------------------------------------------------------------------------------------


def flipped(value: bytes) -> bytes:
    return value[:-1] + bytes([value[-1] ^ 1])


def a_second_earlier(value: bytes) -> bytes:
    return (int.from_bytes(value, "big") - 1).to_bytes(len(value), "big")


def a_second_later(value: bytes) -> bytes:
    return (int.from_bytes(value, "big") + 1).to_bytes(len(value), "big")


def a_commitment(copy: Tampered) -> int:
    """A block in the middle of the last round that no checkpoint is of, some seconds after the one before it."""
    return copy.number("submitUpdateFor", -3)


def change(copy: Tampered, place: int, to: Callable[[bytes], bytes]) -> None:
    """One field of a header."""
    header = copy.bodies[a_commitment(copy) - 1][HEADER]
    header[place] = to(header[place])


def change_opening(copy: Tampered) -> None:
    """The time that the last round's deadline follows from, and with it the ledger head that hospitals signed.

    Mined anew, their commitments no longer fit and are refused, so that round's budget is spent nowhere.
    """
    header = copy.bodies[copy.number("openRound", -1) - 1][HEADER]
    header[TIMESTAMP] = a_second_later(header[TIMESTAMP])


def change_transaction(copy: Tampered) -> None:
    transactions = copy.bodies[a_commitment(copy) - 1][TRANSACTIONS]
    transactions[0] = flipped(transactions[0])  # the last bit of its signature


def send_other_bytes(copy: Tampered) -> None:
    """The server signs anew what it relayed, with another weight in the hospital's commitment."""
    number = a_commitment(copy)
    data = input_of(copy.transaction(number))
    copy.bodies[number - 1][TRANSACTIONS] = [sent_again(copy.transaction(number), copy.run.server, data=flipped(data))]


def sign_for_another_chain(copy: Tampered) -> None:
    number = a_commitment(copy)
    other = sent_again(copy.transaction(number), copy.run.server, chainId=copy.run.chain_id + 1)
    copy.bodies[number - 1][TRANSACTIONS] = [other]


def append_for_another_chain(copy: Tampered) -> None:
    last = copy.transaction(len(copy.bodies))
    other = sent_again(last, copy.run.server, nonce=copy.next_nonce(), to=copy.run.server.address, data=b"", chainId=1)
    header = [*copy.bodies[-1][HEADER]]
    header[TIMESTAMP] = a_second_later(header[TIMESTAMP])
    copy.bodies.append([header, [other], [], []])


def drop(copy: Tampered) -> None:
    del copy.bodies[a_commitment(copy) - 1]


def drop_a_vote(copy: Tampered) -> None:
    """The last vote never was: all that the server sent after it moves up, and waits for the voting deadline."""
    number = copy.number("castVoteFor", -1)
    del copy.bodies[number - 1]
    for body in copy.bodies[number - 1 :]:
        (late,) = body[TRANSACTIONS]
        body[TRANSACTIONS] = [sent_again(late, copy.run.server, nonce=nonce_of(late) - 1)]
        body[HEADER][TIMESTAMP] = (int.from_bytes(body[HEADER][TIMESTAMP], "big") + 86_400).to_bytes(4, "big")


def swap(copy: Tampered) -> None:
    at = a_commitment(copy)
    copy.bodies[at - 1], copy.bodies[at] = copy.bodies[at], copy.bodies[at - 1]


def swap_senders_turns(copy: Tampered) -> None:
    """Two commitments in the other order, each signed for the other's turn."""
    at = a_commitment(copy)
    first, second = copy.transaction(at), copy.transaction(at + 1)
    for number, sent, turn in ((at, second, first), (at + 1, first, second)):
        copy.bodies[number - 1][TRANSACTIONS] = [sent_again(sent, copy.run.server, nonce=nonce_of(turn))]


def cut(copy: Tampered) -> None:
    """The outcome of the last round is gone, and with it every checkpoint that came with the evidence of it."""
    del copy.bodies[-1:]
    copy.checkpoints = tuple(one for one in copy.checkpoints if one.checkpoint.height <= len(copy.bodies))


def change_tip(copy: Tampered) -> None:
    copy.bodies[-1][HEADER][EXTRA] = b"mine"


# ---- who changes it -------------------------------------------------------------------------------------------------


def link(copy: Tampered) -> None:
    copy.bodies = linked(copy.bodies)


def number_anew(copy: Tampered) -> None:
    copy.bodies = renumbered(copy.bodies)


def mine(copy: Tampered) -> None:
    copy.mine()


def mine_for_the_deceived(copy: Tampered) -> None:
    copy.vouch(copy.mine().heads)


def leave(_copy: Tampered) -> None:
    """Nothing more: the naive server."""


@dataclass(frozen=True)
class Case:
    """A way to tamper.

    Attributes:
        name: For people.
        tamper: What is changed.
        mend: What is done to hide it.
        steps: Which steps fail, the one that is named first.
        says: What the last line says.
        folder: The steps that fail in a run folder, whose store keeps blocks under their hashes and does not give out
            what lies under another's; empty where that makes no difference, and only a bundle is tried.
    """

    name: str
    tamper: Callable[[Tampered], None]
    mend: Callable[[Tampered], None]
    steps: tuple[Step, ...]
    says: str
    folder: tuple[Step, ...] = ()


def field(place: int) -> Callable[[Tampered], None]:
    to = a_second_earlier if place == TIMESTAMP else flipped
    return lambda copy: change(copy, place, to)


CASES = [
    Case("transaction, naive", change_transaction, leave, (R, X, C), "transaction root of block", (E, C)),
    Case("transaction, linked", change_transaction, link, (X, C), "cannot run"),
    Case("transaction sent again, linked", send_other_bytes, link, (R, X, C), "receipt root of block"),
    Case("transaction sent again, mined", send_other_bytes, mine, (C,), "A fork"),
    Case("timestamp, naive", field(TIMESTAMP), leave, (H,), "parent of block", (H,)),
    Case("timestamp, linked", field(TIMESTAMP), link, (C,), "A fork"),
    Case("timestamp of an opening, linked", change_opening, link, (R, X, C), "receipt root of block"),
    Case("timestamp of an opening, mined", change_opening, mine, (C,), "A fork"),
    Case("state root, naive", field(STATE), leave, (H, X), "parent of block", (H, X)),
    Case("state root, linked", field(STATE), link, (X, C), "state root of block"),
    Case("receipt root, naive", field(RECEIPT_ROOT), leave, (H, R), "parent of block", (H, R)),
    Case("receipt root, linked", field(RECEIPT_ROOT), link, (R, C), "receipt root of block"),
    Case("dropped, naive", drop, leave, (H, C), "one was left out", (E, H, C)),
    Case("dropped, linked", drop, number_anew, (X, C), "cannot run"),
    # What the server kept of the vote's counts, and of the commitments' order, tells of it as well.
    Case("a vote dropped, mined", drop_a_vote, mine, (C, N), "The tail is cut", (C, N)),
    Case("swapped, naive", swap, leave, (H, C), "or moved", (H, C)),
    Case("swapped, linked", swap, number_anew, (X, C), "cannot run"),
    Case("swapped, mined", swap_senders_turns, mine, (C, K), "A fork"),
    Case("tail cut", cut, leave, (C,), "The tail is cut", (C, Step.MODEL)),
    Case("tip's extra data", change_tip, leave, (C,), "A fork", (C,)),
    Case("foreign chain id, linked", sign_for_another_chain, link, (S, C), "chain id"),
    Case("foreign chain id, mined", sign_for_another_chain, mine, (S, C), "chain id"),
    Case("foreign chain id, hospitals deceived", sign_for_another_chain, mine_for_the_deceived, (S,), "chain id", (S,)),
    Case("foreign chain id, appended", append_for_another_chain, mine, (S,), "chain id"),
]
RUNS = [(case, form) for case in CASES for form in FORMS if form == "bundle" or case.folder]


@pytest.mark.parametrize(("case", "form"), RUNS, ids=[f"{case.name}, {form}" for case, form in RUNS])
def test_a_tampered_chain(finished: FinishedRun, tmp_path: Path, case: Case, form: str) -> None:
    copy = Tampered.of(finished)
    case.tamper(copy)
    case.mend(copy)
    expected = case.folder if form == "folder" else case.steps
    verdict = audit(copy.save(form, tmp_path / "copy"), copy.trust)
    assert verdict.exit_code == 7
    assert verdict.failed() == list(expected), verdict.output
    assert verdict.last.startswith(f"not verified: step {expected[0].number} {expected[0].label}"), verdict.last
    assert form == "folder" or case.says in verdict.last


@pytest.mark.parametrize("change", [cut, change_tip])
def test_what_only_the_hospitals_can_tell_is_open_without_them(
    finished: FinishedRun, tmp_path: Path, change: Callable[[Tampered], None]
) -> None:
    """A history as it could have been, handed over without a checkpoint and audited without a trust file."""
    copy = Tampered.of(finished)
    change(copy)
    if change is not change_tip:
        copy.mine()
    copy.checkpoints = ()
    verdict = audit(copy.save("bundle", tmp_path / "copy"), None)
    assert verdict.exit_code == 8
    assert verdict.failed() == []
    assert verdict.steps[Step.GENESIS] is verdict.steps[Step.CHECKPOINTS] is Status.MISSING
    assert verdict.last.startswith("incomplete: step 2 genesis: ")
