"""The same federation, encryption and all, with its ledger on our node and on anvil."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from anvil import running_anvil
from federation import SMALL, Federation, founded
from shared_runs import SharedRuns
from test_round import (  # type: ignore[import-not-found]  # beside this file, for pytest
    final_weights,
    plain_federated_averaging,
)

from blockchain.ledger.fold import fold
from blockchain.ledger.outbox import TransactionOutbox
from blockchain.ledger.records import RoundPhase
from fedward import settings as setting

pytestmark = pytest.mark.node


@pytest.fixture(params=["embedded", "anvil"])
def federation(request: pytest.FixtureRequest, tmp_path: Path, shared_runs: SharedRuns) -> Iterator[Federation]:
    if request.param == "embedded":
        with shared_runs.federation(tmp_path / "run") as made:
            yield made
        return
    chain_id = setting.load(None, *SMALL).ledger.chain_id
    with running_anvil(chain_id) as node, founded(tmp_path / "run", anvil=node) as made:
        yield made


def check_ledger(federation: Federation) -> None:
    """The head is the fold of the events, and the server's transactions are kept in order."""
    ledger = federation.ledger
    assert fold(ledger.raw_events()) == ledger.head().ledger_head
    kept = TransactionOutbox(federation.folder.server.transactions).entries()
    nonces = [transaction.nonce for transaction in kept]
    assert nonces == list(range(nonces[0], nonces[0] + len(nonces)))
    assert {transaction.sender for transaction in kept} == {federation.parties.server.address}


def test_two_rounds_equal_the_plaintext_twin(federation: Federation) -> None:
    metrics = [federation.lead_round() for _ in range(2)]
    assert [entry["phase"] for entry in metrics] == ["accepted", "accepted"]
    assert federation.ledger.submission_count() == federation.ledger.vote_count() == 6
    check_ledger(federation)
    expected, sums = plain_federated_averaging(federation, 2)
    for index, plain in enumerate(sums, start=1):
        assert np.array_equal(federation.opened(index), plain)
    for hospital in ("hospital-1", "hospital-2", "hospital-3"):
        assert final_weights(federation, hospital).tobytes() == expected.tobytes()


def test_a_round_with_an_absent_hospital_ends_at_its_deadlines(federation: Federation) -> None:
    federation.grid.absent = frozenset({3})
    assert federation.lead_round()["phase"] == "accepted"
    record = federation.ledger.round(1)
    assert (record.phase, record.submissions) == (RoundPhase.ACCEPTED, 2)
    check_ledger(federation)
