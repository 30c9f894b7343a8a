"""Test in public that the shares that each hospital dealt in a round fit together, before its update is added.

The server passes the sealed shares on. Each holder answers, signed, with a few numbers that depend on its shares and on
a challenge from the dealer's commitment (`fedward.sharing.dealing`). From these anybody can repeat the judgment.
"""

from collections.abc import Iterator, Sequence
from functools import partial

from flwr.app import Message

from blockchain.leading.server_state import Server
from blockchain.ledger.events import UpdateCommitted
from blockchain.ledger.records import RoundOpening
from blockchain.signing.answers import sheet_of
from fedward.errors import QuorumError, VerificationError
from fedward.folders.round_keys import Dealings
from fedward.folders.round_log import RoundLog
from fedward.messages.key_sharing import ANSWERS, DealtShare, DealtShares, dealt_to_records, read_answers
from fedward.sharing.answer_sheets import MAX_BYTES, AnswerSheet
from fedward.sharing.judging import Judgment, judge_dealings
from fedward.sharing.signed import SentAnswers
from fedward.types import WRONG_ANSWERS, WRONG_DEALING, Address, Rejection, VerifiedUpdate


def fitting_dealings(
    server: Server, opening: RoundOpening, updates: Sequence[VerifiedUpdate], log: RoundLog
) -> tuple[list[VerifiedUpdate], tuple[Address, ...]]:
    """Test dealt shares: the updates whose dealings stand, and the hospitals whose releases count.

    The others are logged as rejected, with what was found. What was dealt and answered is kept in the server's folder,
    for auditors.

    Raises:
        QuorumError: fewer hospitals answered, or are left after the judgment, than are needed to open a sum.
    """
    if not updates:
        return [], ()
    head = _last_head(server, opening)
    read = partial(read_answers, most_bytes=MAX_BYTES)
    sent: dict[int, SentAnswers] = {}
    sheets: dict[int, AnswerSheet] = {}
    timeout_s = server.settings.speed.answer_timeout_s
    numbers = {entry.address: number for number, entry in enumerate(opening.roster, 1)}
    for node, reply in server.ask_each(_messages(server, opening, head, updates), timeout_s, read):
        hospital = server.nodes.hospital(node)
        sheet = None
        if isinstance(reply, SentAnswers) and reply.signed.answers.hospital == hospital:
            ledger = (server.ledger.chain_id, server.ledger.contract)
            sheet = sheet_of(reply, ledger, opening.round_index, head, numbers)
        if hospital is None or sheet is None or not isinstance(reply, SentAnswers):
            log.unanswered(hospital, "dealt shares", reply)
            continue
        sent[numbers[hospital]], sheets[numbers[hospital]] = reply, sheet
    hashes = {update.hospital: tuple(path.name for path in update.share_files) for update in updates}
    server.folder.round_keys.save_dealings(opening.round_index, Dealings(head, hashes, tuple(sent.values())))
    dealers = {_number(opening, update.roster_index): update for update in updates}
    judgment = judge_dealings(sheets, sorted(dealers), opening.threshold, len(opening.roster))
    _log_judgment(judgment, opening, log)
    if len(judgment.holders) < opening.threshold:
        raise QuorumError(
            f"Round {opening.round_index} has {len(judgment.holders)} hospitals left that can open its sum, where "
            f"{opening.threshold} are needed: the others did not answer about their shares, or contradict too many.",
            "See the rejections above, mend those hospitals and continue with --resume.",
        )
    standing = [update for number, update in dealers.items() if number not in judgment.wrong_dealers]
    return standing, tuple(opening.roster[number - 1].address for number in judgment.holders)


def _last_head(server: Server, opening: RoundOpening) -> bytes:
    """Where the ledger stood after the round's last commitment: from there on all dealings are there."""
    heads = [event.ledger_head for event in server.ledger.events(UpdateCommitted, opening.round_index)]
    if not heads:
        raise VerificationError(
            f"The node tells of no commitment in round {opening.round_index}, after it took some.", "Check the node."
        )
    return heads[-1]


def _messages(
    server: Server, opening: RoundOpening, head: bytes, updates: Sequence[VerifiedUpdate]
) -> Iterator[Message]:
    """For each holder whose node is known: its own share of every dealing, and the hashes of all."""
    places = {entry.address: position for position, entry in enumerate(opening.roster)}
    for node, hospital in server.nodes.known().items():
        if hospital not in places:
            continue
        shares = tuple(
            DealtShare(
                update.roster_index,
                tuple(bytes.fromhex(path.name) for path in update.share_files),
                server.folder.shares.load(update.share_files[places[hospital]]),
                update.signed,
            )
            for update in updates
        )
        content = dealt_to_records(DealtShares(opening.round_index, head, shares))
        yield Message(content, dst_node_id=node, message_type=ANSWERS, group_id=str(opening.round_index))


def _number(opening: RoundOpening, place: int) -> int:
    """A hospital's number as dealer and holder, from 1: its position on the round's roster."""
    return 1 + next(position for position, entry in enumerate(opening.roster) if entry.index == place)


def _log_judgment(judgment: Judgment, opening: RoundOpening, log: RoundLog) -> None:
    """Name the hospitals that cheated, and what shows it."""
    for number, found in judgment.wrong_dealers.items():
        against = ", ".join(opening.roster[holder - 1].address for holder in found.holders)
        evidence = f"Of its shares: {found.fault.value}{f' ({against})' if against else ''}."
        log.rejected(Rejection(opening.roster[number - 1].address, WRONG_DEALING, evidence))
    for number in judgment.set_aside_holders:
        evidence = "It contradicts more hospitals about their shares than can be cheating."
        log.rejected(Rejection(opening.roster[number - 1].address, WRONG_ANSWERS, evidence))
