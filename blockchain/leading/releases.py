"""Gather what hospitals release for a sum: each its part of the sum's key, encrypted so that only hospitals read it."""

from collections.abc import Iterator, Sequence
from functools import partial

from flwr.app import Message

from blockchain.leading.server_state import Server
from blockchain.ledger.records import RoundOpening, encode_set
from blockchain.signing.releases import is_release
from fedward.ciphertexts.serialized import RING_DEGREE
from fedward.folders.round_log import RoundLog
from fedward.messages.key_sharing import RELEASE, ReleaseRequest, read_release, request_to_records
from fedward.sharing.signed import SentRelease
from fedward.sharing.sizes import release_bytes
from fedward.sharing.terms import ReleaseTerms
from fedward.types import WRONG_RELEASE, Address, Rejection


def collect_releases(
    server: Server, opening: RoundOpening, request: ReleaseRequest, holders: Sequence[Address], log: RoundLog
) -> int:
    """Ask hospitals for their part of a sum's key, and keep what comes.

    Args:
        server: Whose folder keeps them.
        opening: Of the round.
        request: Which sum.
        holders: The hospitals whose shares were tested; no others are asked.
        log: Of the round.

    Returns:
        How many hospitals released their part.
    """
    head = server.ledger.closing(opening.round_index).ledger_head
    read = partial(read_release, content_bytes=release_bytes(RING_DEGREE))
    kept: dict[Address, SentRelease] = {}
    timeout_s = server.settings.speed.answer_timeout_s
    for node, reply in server.ask_each(_messages(server, opening, request, holders), timeout_s, read):
        hospital = server.nodes.hospital(node)
        if hospital and isinstance(reply, SentRelease):
            terms = ReleaseTerms(
                server.ledger.chain_id,
                server.ledger.contract,
                opening.round_index,
                hospital,
                request.purpose,
                head,
                encode_set(opening.roster, request.included),
                request.sum_hash,
            )
            if is_release(reply.signed, terms, reply.content):
                kept[hospital] = reply
                continue
        log.unanswered(hospital, "a sum to be opened", reply)
    server.folder.round_keys.save_releases(opening.round_index, request.purpose, tuple(kept.values()))
    return len(kept)


def name_wrong_releases(opening: RoundOpening, log: RoundLog) -> None:
    """Log which releases hospitals found wrong: only they can read them."""
    for place, hospitals in sorted(log.wrong_releases.items()):
        entry = next((entry for entry in opening.roster if entry.index == place), None)
        if entry:
            evidence = f"{hospitals} of {log.ballots} hospitals found that its part of the sum's key does not fit."
            log.rejected(Rejection(entry.address, WRONG_RELEASE, evidence))


def _messages(
    server: Server, opening: RoundOpening, request: ReleaseRequest, holders: Sequence[Address]
) -> Iterator[Message]:
    """The request for each of these hospitals whose node is known."""
    for node, hospital in server.nodes.known().items():
        if hospital in holders:
            content = request_to_records(request)
            yield Message(content, dst_node_id=node, message_type=RELEASE, group_id=str(opening.round_index))
