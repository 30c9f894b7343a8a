"""Gas of every function that changes the contract: with five hospitals, and with as many as the roster has places.

Runs the contract on an embedded node. For each function its most expensive call counts. The worst cases are among the
calls: an aggregate of two updates with all others named as excluded, votes of every hospital, and numbers and hashes
without a zero byte, which cost most to send. Keys are fixed, so the figures are the same each time.
Run: .venv/bin/python benchmarks/gas.py [--json]
"""

import argparse
import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from eth_utils.crypto import keccak

from blockchain.identity import Identity
from blockchain.ledger.artifact import load_artifact
from blockchain.ledger.connection import Connection
from blockchain.ledger.encoding import encode_commitment, encode_mask, encode_reason, encode_vote
from blockchain.node.embedded import start_node
from blockchain.signing.signatures import sign_commitment, vote_message
from fedward.types import Commitment, PrivacyEvent, Vote

SIZES = (5, 128)  # hospitals: a small consortium, and every place on the roster
MIN_INCLUDED = 2
MAX_UINT32, MAX_UINT64 = 2**32 - 1, 2**64 - 1
DURATION_S = 1_000
CHAIN_ID = 190826
RULES = (MIN_INCLUDED, 0, 0, 0, DURATION_S, DURATION_S, True)
EVENT = PrivacyEvent("sample", "image", 1 / 3, 1e8 / 3, MAX_UINT32, 1e8 / 7, 1 / 7)
WITNESS = keccak(text="WITNESS_ROLE")
ROUND_FIELDS = next(entry for entry in load_artifact().abi if entry.get("name") == "roundOf")["outputs"][0][
    "components"
]
WORDS = [field["name"] for field in ROUND_FIELDS]


class Meter:
    """One contract on an embedded node, and the most gas that each of its functions has used.

    Args:
        folder: An empty folder, for the chain and the keys.
        names: The accounts that take part beside the admin.

    Attributes:
        gas: Gas by function, the transaction's own cost and its data included; of several calls the most expensive.
        admin, people: The accounts; their keys are the same each time.
        ahead_s: Seconds that the node's clock is ahead.
    """

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.gas: dict[str, int] = {}
        self.ahead_s = 0.0
        self.admin, *self.people = (fixed_identity(folder / name, name) for name in ("admin", *names))
        funded = [self.admin.address, *(identity.address for identity in self.people)]
        self._node = start_node(folder / "ledger", CHAIN_ID, funded, clock=self._clock)
        self._connection = Connection(self._node.url, None)
        self.contract = self._connection.deploy(self.admin, word("settings"), word("model"), RULES)

    def _clock(self) -> float:
        """Ahead by half a second more at each look, so that no block waits for the next second."""
        self.ahead_s += 0.5
        return time.time() + self.ahead_s

    def close(self) -> None:
        """Stop the node."""
        self._connection.close()
        self._node.stop()

    def send(self, sender: Identity, function: str, *arguments: object) -> None:
        """Call a function in a transaction and note the gas that it used.

        Raises:
            LedgerError: the contract refused.
        """
        used = int(self._connection.transact(sender, function, *arguments)["gasUsed"])
        self.gas[function] = max(used, self.gas.get(function, 0))

    def round_field(self, round_index: int, name: str) -> bytes:
        """One of the words that the contract stores of a round."""
        return bytes(self._connection.call("roundOf", round_index)[WORDS.index(name)])


def fixed_identity(folder: Path, name: str) -> Identity:
    """Keys that are the same each time, and so protect nothing."""
    folder.mkdir()
    for file in ("account.key", "x25519.key"):
        (folder / file).write_text(keccak(text=f"{name} {file}").hex())
        (folder / file).chmod(0o600)
    return Identity.load(folder)


def word(name: str) -> bytes:
    """32 bytes without a zero among them, which cost most to send."""
    return bytes(byte or 1 for byte in hashlib.sha256(name.encode()).digest())


def measure(hospitals: int) -> dict[str, int]:
    """The most gas that each state-changing function uses with so many hospitals on the roster.

    Args:
        hospitals: 3 to 128.
    """
    names = ["witness", *(f"hospital-{index}" for index in range(hospitals))]
    with tempfile.TemporaryDirectory() as folder:
        meter = Meter(Path(folder), names)
        try:
            _found(meter)
            accepted = _accept_round(meter, 1)
            _accept_smallest(meter, accepted + 1)
            _change_roster(meter)
        finally:
            meter.close()
    return dict(sorted(meter.gas.items()))


def _found(meter: Meter) -> None:
    """Fill the roster, the dealer last but one, and the last after the key was named; name keys; admit a witness."""
    witness, *hospitals = meter.people
    *_, dealer, last = hospitals
    for index, hospital in enumerate(hospitals):
        if hospital is last:
            meter.send(dealer, "setContext", word("context 0"))
        is_dealer = hospital is dealer
        meter.send(meter.admin, "register", hospital.address, MAX_UINT32, word(f"x25519 {index}"), is_dealer)
    meter.send(dealer, "setContext", word("context 1"))
    meter.send(meter.admin, "grantRole", WITNESS, witness.address)


def _open(meter: Meter, number: int) -> int:
    """Open a round and say its number.

    Commitments name the hash of the block before, which follows from the time. With a zero byte in it they would cost
    12 gas less than the dearest: such a round is given up for another.
    """
    meter.send(meter.admin, "openRound")
    if 0 not in meter.round_field(number, "openingHead"):
        return number
    meter.send(meter.admin, "abortRound", number, encode_reason("x" * 31))
    return _open(meter, number + 1)


def _submit(meter: Meter, number: int) -> int:
    """Open a round, commit to all updates, say its number: the last hospital for itself, the others relayed."""
    number = _open(meter, number)
    *relayed, direct = meter.people[1:]
    for hospital in relayed:
        signed = sign_commitment(_commitment(meter, hospital, number), hospital)
        meter.send(meter.admin, "submitUpdateFor", encode_commitment(signed.commitment), signed.signature)
    meter.send(direct, "submitUpdate", encode_commitment(_commitment(meter, direct, number)))
    return number


def _accept_round(meter: Meter, number: int) -> int:
    """A round with all updates in the aggregate and all votes for it, the first of them relayed; says its number."""
    number = _submit(meter, number)
    everybody = encode_mask(range(len(meter.people) - 1))
    meter.send(meter.admin, "closeSubmissions", number, word(f"aggregate {number}"), everybody, [])
    _, *relayed, direct = meter.people
    for hospital in relayed:
        _relay_vote(meter, hospital, number)
    meter.send(direct, "castVote", encode_vote(_vote(meter, direct, number)))
    _attest(meter, number)
    meter.send(meter.admin, "finalizeRound", number)
    return number


def _accept_smallest(meter: Meter, number: int) -> None:
    """A round with the smallest aggregate, all other updates named as excluded, and the first vote a hospital's own.

    Ending it opens the next one, which is given up.
    """
    number = _submit(meter, number)
    left_out = [(index, encode_reason("x" * 31)) for index in range(MIN_INCLUDED, len(meter.people) - 1)]
    included = encode_mask(range(MIN_INCLUDED))
    meter.send(meter.admin, "closeSubmissions", number, word(f"aggregate {number}"), included, left_out)
    _, *relayed, direct = meter.people
    meter.send(direct, "castVote", encode_vote(_vote(meter, direct, number)))
    for hospital in relayed:
        _relay_vote(meter, hospital, number)
    _attest(meter, number)
    meter.send(meter.admin, "finalizeAndOpen", number)
    meter.send(meter.admin, "abortRound", number + 1, encode_reason("x" * 31))


def _relay_vote(meter: Meter, hospital: Identity, number: int) -> None:
    """The admin relays a hospital's signed vote."""
    vote = _vote(meter, hospital, number)
    meter.send(meter.admin, "castVoteFor", encode_vote(vote), hospital.sign_message(vote_message(vote)))


def _attest(meter: Meter, number: int) -> None:
    """The witness attests to the round's aggregate."""
    meter.send(meter.people[0], "attest", number, word(f"aggregate {number}"))


def _change_roster(meter: Meter) -> None:
    """A new sealing key, new keys, a new dealer, a witness that is taken off and one that leaves."""
    witness, first, *_, dealer, _ = meter.people
    meter.send(first, "rotateKey", word("new x25519"))
    for caller, number in ((meter.admin, 2), (dealer, 3)):
        meter.send(caller, "startKeyEpoch")
        meter.send(dealer, "setContext", word(f"context {number}"))
    meter.send(meter.admin, "revoke", dealer.address)
    meter.send(meter.admin, "nameDealer", first.address)
    meter.send(first, "setContext", word("context 4"))
    meter.send(meter.admin, "revokeRole", WITNESS, witness.address)
    meter.send(meter.admin, "grantRole", WITNESS, witness.address)
    meter.send(witness, "renounceRole", WITNESS, witness.address)


def _commitment(meter: Meter, hospital: Identity, number: int) -> Commitment:
    """What a hospital commits to in the round that is open."""
    return Commitment(
        chain_id=CHAIN_ID,
        contract=meter.contract,
        round_index=number,
        hospital=hospital.address,
        ledger_head=meter.round_field(number, "openingHead"),
        base_id=meter.round_field(number, "baseId"),
        context_fingerprint=meter.round_field(number, "contextFingerprint"),
        update_root=word(f"update {number} {hospital.address}"),
        update_bytes=MAX_UINT64,
        shares_root=word(f"shares {number} {hospital.address}"),
        weight=MAX_UINT32,
        event=EVENT,
    )


def _vote(meter: Meter, hospital: Identity, number: int) -> Vote:
    """A hospital's vote for the aggregate that is voted on."""
    return Vote(
        chain_id=CHAIN_ID,
        contract=meter.contract,
        round_index=number,
        hospital=hospital.address,
        aggregate_hash=meter.round_field(number, "aggregateHash"),
        accept=True,
        candidate_digest=word(f"candidate {number}"),
        counts_hash=word(f"counts {hospital.address}"),
        evidence_hash=word(f"evidence {hospital.address}"),
    )


def state_changing() -> set[str]:
    """Names of all functions of the interface that change something."""
    changing = (entry for entry in load_artifact().abi if entry.get("stateMutability") == "nonpayable")
    return {entry["name"] for entry in changing if entry["type"] == "function"}


def table(columns: Mapping[int, Mapping[str, int]]) -> str:
    """The figures as a table in Markdown, a row for each function."""
    rows = ["| function | " + " | ".join(f"{size} hospitals" for size in columns) + " |"]
    rows.append("|---|" + "---:|" * len(columns))
    for function in next(iter(columns.values())):
        figures = [f"{column[function]:,}" for column in columns.values()]
        rows.append(f"| `{function}` | {' | '.join(figures)} |")
    return "\n".join(rows)


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description="Gas of every call that changes the contract.")
    parser.add_argument("--json", action="store_true")
    as_json = parser.parse_args().json
    columns = {size: measure(size) for size in SIZES}
    print(json.dumps(columns, indent=1) if as_json else table(columns))


if __name__ == "__main__":
    main()
