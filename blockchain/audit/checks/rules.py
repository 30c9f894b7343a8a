"""Steps 7 to 9: events lead to the ledger head, calls follow the contract's rules, hospitals signed what is theirs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from eth_utils.address import to_canonical_address, to_checksum_address

from blockchain.audit.checks.round_tally import RoundTally
from blockchain.audit.checks.rounds import readable_reason
from blockchain.audit.history import ExecutedBlock, ExecutedTransaction, ledger_events
from blockchain.audit.report import Report, Step
from blockchain.ledger.artifact import load_artifact
from blockchain.ledger.calls import decode_call, decode_deployment
from blockchain.ledger.events import LedgerEvent, RoundOpened, contract_fields, event_of
from blockchain.ledger.fold import EMPTY_HEAD, fold
from blockchain.twin.rounds import FUNCTIONS, LedgerModel, ModelEvent, Refused
from fedward.errors import VerificationError
from fedward.types import Address, HospitalId

SIGNED_CALLS = ("submitUpdate", "submitUpdateFor", "castVote", "castVoteFor")  # their argument: round, hospital, …
# Their first argument: the round.
ROUND_CALLS = ("closeSubmissions", "attest", "finalizeRound", "finalizeAndOpen", "abortRound")
SHOWN_BYTES = 8  # of a hash in a line


def check_events(blocks: Sequence[ExecutedBlock], contract: Address, head: bytes | None, report: Report) -> None:
    """Step 7: fold the contract's events, from the first on, and compare with the ledger head in its storage.

    Args:
        blocks: The whole history.
        contract: The ledger.
        head: 32 bytes; the head in the contract's storage after the last block, None where it is not known.
        report: Where the lines go.
    """
    own, shapes = to_canonical_address(contract), load_artifact().events()
    folded, count = EMPTY_HEAD, 0
    for transaction in _transactions(blocks):
        logs = [(log.topics, log.data) for log in transaction.logs if log.address == own]
        try:
            folded = fold(logs, folded)
        except VerificationError as error:
            report.fail(Step.EVENTS, f"{_where(transaction)}: {error.what}", checks=count + 1)
            return
        count += sum(1 for topics, _ in logs if topics and topics[0] in shapes)
    if head is None:
        report.missing(
            Step.EVENTS, f"{count} events add up to {_hex(folded)}; the head in the contract's storage is not there."
        )
    elif folded == head:
        report.ok(
            Step.EVENTS,
            f"{count} events add up to the ledger head {_hex(head)} in the contract's storage.",
            checks=count + 1,
        )
    else:
        report.fail(
            Step.EVENTS,
            f"{count} events add up to {_hex(folded)}, the contract's storage says {_hex(head)}.",
            checks=count + 1,
        )


def check_rules(
    blocks: Sequence[ExecutedBlock],
    contract: Address,
    chain_id: int,
    report: Report,
    names: Mapping[Address, HospitalId],
) -> LedgerModel | None:
    """Steps 8 and 9: run every call to the contract on its twin in Python, and compare with what was recorded.

    A call that succeeded must give exactly the recorded events. A call that was reverted recorded nothing; where the
    rules would have allowed it, a NOTE says so, because any call with too little gas is reverted.

    Args:
        blocks: The whole history.
        contract: The ledger.
        chain_id: Its chain's id.
        report: Where the lines go.
        names: Hospitals by address, as far as they are known.

    Returns:
        The twin after the last block; None where it could not follow the history to the end, which a line then says.

    Guarantees:
        1. Whatever the transactions' bytes are, nothing is raised.
        2. After the first call that contradicts the rules no further call is judged, because all later state depends on
           it. A signature that is not the hospital's is reported, and judging goes on as if it were valid.
    """
    judge = _Judge(contract, chain_id, report, names)
    for transaction in _transactions(blocks):
        if not judge.take(transaction):
            break
    judge.report_rounds()
    if judge.model is None and not judge.stopped:
        report.missing(Step.RULES, f"The history does not contain the deployment of the contract {contract}.")
    return None if judge.stopped else judge.model


class _Judge:
    """Runs the twin along the history."""

    def __init__(self, contract: Address, chain_id: int, report: Report, names: Mapping[Address, HospitalId]) -> None:
        self._contract, self._chain_id, self._report = contract, chain_id, report
        self._own = to_canonical_address(contract)
        self._names = {address.lower(): name for address, name in names.items()}
        self._rounds: dict[int, RoundTally] = {}
        self._outside_rounds = 0  # calls about roster, roles and key
        self._unexplained: list[ExecutedTransaction] = []
        self.model: LedgerModel | None = None
        self.stopped = False

    def take(self, transaction: ExecutedTransaction) -> bool:
        """Judge one transaction; False once no further one can be judged."""
        if transaction.created is not None and transaction.created.lower() == self._contract.lower():
            if transaction.succeeded:
                self._deploy(transaction)
        elif transaction.to is not None and transaction.to.lower() == self._contract.lower():
            self._call(transaction)
        elif any(log.address == self._own for log in transaction.logs):
            self._stop(
                f"{_where(transaction)} reached the contract through another contract: what it asked for is not in "
                "the transaction. It and what came after it cannot be judged."
            )
        return not self.stopped

    def _deploy(self, transaction: ExecutedTransaction) -> None:
        try:
            digests_and_rules = decode_deployment(transaction.data)
            model = LedgerModel(self._chain_id, self._contract, transaction.sender, *digests_and_rules)
        except Refused as refusal:
            self._contradict(transaction, None, "its deployment", _refusal(refusal))
            return
        except VerificationError as error:
            self._contradict(transaction, None, "its deployment", error.what)
            return
        self.model = model
        self._compare(transaction, None, _typed(model.deployment_events, transaction))

    def _call(self, transaction: ExecutedTransaction) -> None:
        recorded = any(log.address == self._own for log in transaction.logs)
        if self.model is None:
            if recorded:
                self._contradict(transaction, None, "events", "there is no contract yet")
            return
        try:
            function, arguments = decode_call(transaction.data)
        except VerificationError as error:
            if recorded:
                self._stop(f"{_where(transaction)}: {error.what} It and what came after it cannot be judged.")
            return
        if function not in FUNCTIONS:  # a view: it records nothing
            if recorded:
                self._contradict(transaction, None, "events", f"{function} only reads")
        elif transaction.succeeded:
            self._judge(self.model, transaction, function, arguments)
        else:
            self._judge_reverted(self.model, transaction, function, arguments)

    def _judge(
        self, model: LedgerModel, transaction: ExecutedTransaction, function: str, arguments: tuple[Any, ...]
    ) -> None:
        round_index = _round_of(function, arguments, model)
        tally = self._rounds.setdefault(round_index, RoundTally(round_index)) if round_index else None
        signed = function in SIGNED_CALLS
        try:
            try:
                told = model.execute(transaction.sender, transaction.timestamp, function, arguments)
            except Refused as refusal:
                if not signed or refusal.reason != "WrongSigner":
                    raise
                self._forged(transaction, refusal, tally)
                hospital, direct = arguments[0][1], function.removesuffix("For")
                told = model.execute(hospital, transaction.timestamp, direct, arguments[:1])
        except Refused as refusal:
            self._contradict(transaction, round_index, self._recorded_names(transaction), _refusal(refusal))
            return
        events = _typed(told, transaction)
        self._compare(transaction, round_index, events)
        if self.stopped:
            return
        if tally is None:
            self._outside_rounds += 1
        else:
            tally.count(transaction.timestamp, function, events)
            if function == "finalizeAndOpen":  # it is also the call that opened the next round
                for event in events:
                    if isinstance(event, RoundOpened):
                        self._rounds.setdefault(event.round_index, RoundTally(event.round_index)).calls += 1

    def _judge_reverted(
        self, model: LedgerModel, transaction: ExecutedTransaction, function: str, arguments: tuple[Any, ...]
    ) -> None:
        try:
            model.copy().execute(transaction.sender, transaction.timestamp, function, arguments)
        except Refused:
            self._rounds.setdefault(model.latest_round, RoundTally(model.latest_round)).refused += 1
        else:
            self._unexplained.append(transaction)

    def _forged(self, transaction: ExecutedTransaction, refusal: Refused, tally: RoundTally | None) -> None:
        hospital, signer = refusal.fields
        by = f"signed by {self._name(signer)}" if int(signer, 16) else "without any valid signature"
        self._report.fail(
            Step.SIGNATURES,
            f"{_where(transaction)}: the contract recorded {self._recorded_names(transaction)} of "
            f"{self._name(hospital)}, {by}.",
            round_index=tally.round_index if tally else None,
            hospital=self._name(hospital),
        )
        if tally:
            tally.forged += 1

    def _recorded(self, transaction: ExecutedTransaction) -> list[LedgerEvent]:
        """The contract's own events of a transaction."""
        block = ExecutedBlock(transaction.block, b"", transaction.timestamp, (transaction,))
        return list(ledger_events((block,), self._contract))

    def _recorded_names(self, transaction: ExecutedTransaction) -> str:
        """The names of a transaction's own events of the contract."""
        try:
            return _event_names(self._recorded(transaction))
        except VerificationError:
            return "malformed events"

    def _compare(
        self, transaction: ExecutedTransaction, round_index: int | None, expected: Sequence[LedgerEvent]
    ) -> None:
        try:
            recorded = self._recorded(transaction)
        except VerificationError as error:
            self._contradict(transaction, round_index, error.what, _event_names(expected))
            return
        if recorded != expected:
            self._contradict(transaction, round_index, *self._difference(recorded, expected))

    def _difference(self, recorded: Sequence[LedgerEvent], expected: Sequence[LedgerEvent]) -> tuple[str, str]:
        """The recorded and the expected side of what differs, and nothing else."""
        theirs, ours = _event_names(recorded), _event_names(expected)
        if theirs != ours:
            return theirs, ours
        pair = next(pair for pair in zip(recorded, expected, strict=True) if pair[0] != pair[1])
        event, rule = map(contract_fields, pair)
        fields = [name for name in rule if event[name] != rule[name]]
        fields = [name for name in fields if name != "ledgerHead"] or fields  # the head follows from the others
        shown = (", ".join(f"{name} {self._shown(side[name])}" for name in fields) for side in (event, rule))
        return tuple(f"{pair[0].name} with {text}" for text in shown)  # type: ignore[return-value]

    def _contradict(self, transaction: ExecutedTransaction, round_index: int | None, recorded: str, rules: str) -> None:
        """Report a call that contradicts the rules, and judge no further one."""
        self._report.fail(
            Step.RULES,
            f"{_where(transaction)}: the contract recorded {recorded}, the rules give {rules}. "
            "What came after it was not judged.",
            round_index=round_index,
        )
        if round_index in self._rounds:
            self._rounds[round_index].broken = True
        self.stopped = True

    def _stop(self, reason: str) -> None:
        """Report that the twin cannot follow the history any further."""
        self._report.missing(Step.RULES, reason)
        self.stopped = True

    def report_rounds(self) -> None:
        """The lines of all rounds that kept the rules, and what a reader should know about them."""
        model, report = self.model, self._report
        if model is None:
            return
        if not report.failed(Step.RULES) or self._outside_rounds:
            report.ok(
                Step.RULES,
                f"The deployment and {self._outside_rounds} calls about roster, roles and key went as the rules say.",
                checks=1 + self._outside_rounds,
            )
        for number in model.rounds:
            tally = self._rounds.get(number)
            if tally and not tally.broken:
                tally.report(model, self._report, self._name)
        if self._unexplained:
            first, count = self._unexplained[0], len(self._unexplained)
            report.note(
                Step.RULES,
                f"{count} calls were reverted that the rules would have allowed, the first in {_where(first)}: "
                "they came with too little gas, or with money. They recorded nothing.",
            )

    def _name(self, address: str) -> str:
        """A hospital's name, or else its address."""
        return str(self._names.get(address.lower()) or to_checksum_address(address))

    def _shown(self, value: Any) -> str:
        """An argument, shown for people."""
        if isinstance(value, bytes):
            return readable_reason(value) if value.rstrip(b"\0").isalnum() else _hex(value)
        return self._name(value) if isinstance(value, str) else str(value)


def _transactions(blocks: Sequence[ExecutedBlock]) -> Iterator[ExecutedTransaction]:
    """All transactions in the order of the chain."""
    for block in blocks:
        yield from block.transactions


def _round_of(function: str, arguments: tuple[Any, ...], model: LedgerModel) -> int | None:
    """Which round a call is about; None where it is about none."""
    if function in SIGNED_CALLS:
        return int(arguments[0][0])
    if function in ROUND_CALLS:
        return int(arguments[0])
    return model.latest_round + 1 if function == "openRound" else None


def _typed(told: Sequence[ModelEvent], transaction: ExecutedTransaction) -> list[LedgerEvent]:
    """The twin's events as they would stand on the chain, had the contract emitted them in this transaction."""
    return [event_of(event.name, event.values, transaction.block, transaction.transaction_hash) for event in told]


def _event_names(events: Sequence[LedgerEvent]) -> str:
    """The events by name."""
    return ", ".join(event.name for event in events) or "nothing"


def _refusal(refusal: Refused) -> str:
    """A refusal, as text for people."""
    shown = (_hex(field) if isinstance(field, bytes) else str(field) for field in refusal.fields)
    return f"the refusal {refusal.reason}({', '.join(shown)})"


def _where(transaction: ExecutedTransaction) -> str:
    """A transaction, as text for people."""
    return f"Block {transaction.block}, transaction {_hex(transaction.transaction_hash)}"


def _hex(data: bytes) -> str:
    """The beginning of a hash."""
    return f"0x{data[:SHOWN_BYTES].hex()}…" if len(data) > SHOWN_BYTES else f"0x{data.hex()}"
