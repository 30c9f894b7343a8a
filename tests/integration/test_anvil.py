"""The contract and its client on a node that is not ours: effects, refusals by name, and other nodes' peculiarities."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from anvil import Anvil, running_anvil
from consortium import CHAIN_ID, FINGERPRINT, MODEL_DIGEST, RULES, SETTINGS_DIGEST, Chain, Clock, Consortium, refused

from blockchain.identity import Identity
from blockchain.ledger.connection import Connection
from blockchain.ledger.ledger import Ledger, RoundPhase
from fedward.errors import LedgerError, VerificationError


@pytest.fixture(scope="module")
def anvil() -> Iterator[Anvil]:
    with running_anvil(CHAIN_ID) as node:
        yield node


@pytest.fixture(scope="module")
def chain(anvil: Anvil, tmp_path_factory: pytest.TempPathFactory) -> Chain:
    folder = tmp_path_factory.mktemp("people")
    server, founder, stranger, *people = [Identity.create(folder / str(number)) for number in range(8)]
    made = Chain(anvil, Clock(), server, founder, stranger, tuple(people))  # type: ignore[arg-type]
    anvil.fund([identity.address for identity in made.everybody])
    return made


@pytest.fixture
def consortium(chain: Chain) -> Iterator[Consortium]:
    founded = Consortium.found(chain)
    yield founded
    founded.close()  # compares the ledger's head with the fold of its events


def pass_deadline(consortium: Consortium, anvil: Anvil) -> None:
    """Move the chain's time past the current round's deadlines."""
    record = consortium.ledger.round(1)
    anvil.move_to(max(record.submission_deadline, record.voting_deadline) + 1)


@pytest.mark.node
def test_a_round_from_opening_to_acceptance(consortium: Consortium) -> None:
    aggregate = consortium.to_voting()
    consortium.vote(True, True, True)
    assert consortium.finalize() is RoundPhase.ACCEPTED
    record = consortium.ledger.round(1)
    assert (record.aggregate_hash, record.submissions) == (aggregate, 3)
    assert consortium.ledger.head().ledger_head == consortium.events()[-1].ledger_head


@pytest.mark.node
def test_time_that_passes_ends_a_round(consortium: Consortium, anvil: Anvil) -> None:
    consortium.open_round()
    consortium.submit(0, 1)
    pass_deadline(consortium, anvil)
    with refused("SubmissionDeadlinePassed"):
        consortium.submit(2)
    consortium.close_submissions((0, 1))
    consortium.vote(True)
    with refused("OutcomeStillOpen"):
        consortium.finalize()
    pass_deadline(consortium, anvil)
    with refused("VotingDeadlinePassed"):
        consortium.ledger.cast_vote_for(consortium.ballot(1, True))
    assert consortium.finalize() is RoundPhase.ABORTED  # too few votes


def open_twice(consortium: Consortium) -> None:
    consortium.open_round()
    consortium.ledger.open_round()


def submit_twice(consortium: Consortium) -> None:
    consortium.open_round()
    consortium.submit(0)
    consortium.submit(0)


def claim_another_weight(consortium: Consortium) -> None:
    consortium.open_round()
    consortium.ledger.submit_for(consortium.signed(0, weight=99_999))


def vote_on_another_aggregate(consortium: Consortium) -> None:
    consortium.to_voting()
    consortium.ledger.cast_vote_for(consortium.ballot(0, True, aggregate_hash=bytes([7]) * 32))


def include_too_few(consortium: Consortium) -> None:
    consortium.open_round()
    consortium.submit()
    consortium.close_submissions((0,))


def enroll_twice(consortium: Consortium) -> None:
    consortium.ledger.register(consortium.hospitals[0].address, 5, FINGERPRINT)


def act_as_a_stranger(consortium: Consortium) -> None:
    consortium.send(consortium.chain.stranger, "openRound")


@pytest.mark.node
@pytest.mark.parametrize(
    ("attempt", "reason"),
    [
        (open_twice, "RoundInProgress"),
        (submit_twice, "AlreadySubmitted"),
        (claim_another_weight, "WrongWeight"),
        (vote_on_another_aggregate, "WrongAggregate"),
        (include_too_few, "TooFewIncluded"),
        (enroll_twice, "AlreadyRegistered"),
        (act_as_a_stranger, "AccessControlUnauthorizedAccount"),
    ],
)
def test_refusals_carry_the_custom_errors_name(
    consortium: Consortium, attempt: Callable[[Consortium], None], reason: str
) -> None:
    with refused(reason):
        attempt(consortium)


@pytest.mark.node
def test_a_refusal_in_a_block_carries_its_name_too(
    consortium: Consortium, anvil: Anvil, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the world changed between the try-out and the block, the failed transaction is asked for its reason."""
    monkeypatch.setattr("web3.eth.Eth.estimate_gas", lambda *_: 500_000)
    height = int(anvil.ask("eth_blockNumber"), 16)
    with refused("AlreadyRegistered"):
        enroll_twice(consortium)
    assert int(anvil.ask("eth_blockNumber"), 16) == height + 1


@pytest.mark.node
def test_a_poor_account_and_a_foreign_chain_are_named(consortium: Consortium, anvil: Anvil, tmp_path: Path) -> None:
    poor = Identity.create(tmp_path)
    with pytest.raises(LedgerError, match=r"(?i)insufficient funds") as caught:
        Ledger.deploy(anvil.url, poor, RULES, SETTINGS_DIGEST, MODEL_DIGEST)
    assert caught.value.reason == ""
    with pytest.raises(VerificationError, match=f"serves chain {CHAIN_ID}, not 5"):
        Ledger.attach(anvil.url, consortium.ledger.contract, chain_id=5)


# ---- proof of authority -----------------------------------------------------------------------------------------

# A Clique block: 32 bytes of vanity and a 65-byte seal, where the yellow paper allows 32 bytes in all.
SEALED_BLOCK = {
    "number": "0x7",
    "hash": "0x" + "17" * 32,
    "parentHash": "0x" + "16" * 32,
    "extraData": "0x" + "ab" * 97,
    "timestamp": "0x65000000",
    "transactions": [],
}


class _SealedNode(BaseHTTPRequestHandler):
    """Answers as a proof-of-authority node whose last block is `SEALED_BLOCK`."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        results = {"eth_chainId": hex(CHAIN_ID), "eth_getBlockByNumber": SEALED_BLOCK}
        batch = asked if isinstance(asked, list) else [asked]
        answers = [{"jsonrpc": "2.0", "id": one["id"], "result": results[one["method"]]} for one in batch]
        answer = json.dumps(answers if isinstance(asked, list) else answers[0]).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def test_blocks_sealed_by_an_authority_are_read() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _SealedNode) as node:
        thread = threading.Thread(target=node.serve_forever, args=(0.02,))
        thread.start()
        connection = Connection(f"http://127.0.0.1:{node.server_address[1]}", None)
        assert connection.latest_block() == (7, bytes([0x17]) * 32)
        connection.close()
        node.shutdown()
        thread.join()
