"""Gas is bounded at the largest roster, and is what docs/gas.md says. Counted by the EVM, so the same each time."""

from pathlib import Path

import pytest

from benchmarks.gas import SIZES, measure, state_changing, table
from blockchain.ledger.ledger import ENDING_GAS

pytestmark = pytest.mark.slow

TRANSACTION_LIMIT = 2**24  # of Ethereum, by EIP-7825
SUBMISSION_LIMIT = 150_000
REFUND_SHARE = 5  # at most a fifth of the gas used is given back at the end, and is needed until then


@pytest.fixture(scope="module")
def gas() -> dict[int, dict[str, int]]:
    return {size: measure(size) for size in SIZES}


def test_every_function_is_measured_at_the_largest_roster(gas: dict[int, dict[str, int]]) -> None:
    assert max(SIZES) == 128
    for measured in gas.values():
        assert set(measured) == state_changing()


def test_no_call_needs_more_than_a_transaction_may(gas: dict[int, dict[str, int]]) -> None:
    for measured in gas.values():
        for function, used in measured.items():
            assert used * REFUND_SHARE // (REFUND_SHARE - 1) < TRANSACTION_LIMIT, function


def test_a_relayed_submission_is_cheap(gas: dict[int, dict[str, int]]) -> None:
    for measured in gas.values():
        assert measured["submitUpdateFor"] <= SUBMISSION_LIMIT


def test_what_ends_a_round_untried_has_enough_gas(gas: dict[int, dict[str, int]]) -> None:
    for measured in gas.values():
        for function in ("finalizeRound", "finalizeAndOpen"):
            assert measured[function] * REFUND_SHARE // (REFUND_SHARE - 1) < ENDING_GAS, function


def test_the_table_is_what_the_benchmark_prints(gas: dict[int, dict[str, int]]) -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "gas.md").read_text()
    assert table(gas) in text
