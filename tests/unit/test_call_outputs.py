"""The node runs a call once after a block, whoever asks; what another block or another call gave is never told."""

import itertools

import pytest
from eth_typing import Address as RawAddress

from blockchain.node.machine import CallRequest
from blockchain.node.outputs import MOST, MOST_BYTES, Outputs


def call(data: bytes = b"view", sender: int = 0) -> CallRequest:
    return CallRequest(RawAddress(bytes([sender]) * 20), RawAddress(b"\1" * 20), data, value=0, gas=1_000_000)


def test_a_call_runs_once_after_each_block() -> None:
    outputs, runs = Outputs(), itertools.count()

    def run() -> bytes:
        return bytes([next(runs)])

    assert [outputs.of(b"one" * 8, call(), run) for _ in range(3)] == [b"\0"] * 3
    assert outputs.of(b"two" * 8, call(), run) == b"\1"
    assert outputs.of(b"one" * 8, call(sender=1), run) == b"\2"
    assert outputs.of(b"one" * 8, call(b"other"), run) == b"\3"
    assert outputs.of(b"one" * 8, call(), run) == b"\0"


def test_a_call_that_fails_is_run_again() -> None:
    outputs = Outputs()
    with pytest.raises(ZeroDivisionError):
        outputs.of(b"one" * 8, call(), lambda: bytes(1 // 0))
    assert outputs.of(b"one" * 8, call(), lambda: b"output") == b"output"


def test_memory_is_bounded() -> None:
    outputs = Outputs()
    outputs.of(b"first", call(), lambda: b"kept")
    for number in range(MOST - 1):
        outputs.of(bytes([number]), call(), lambda: b"")
    assert outputs.of(b"first", call(), lambda: b"again") == b"kept"
    for number in range(MOST):
        outputs.of(bytes([number, number]), call(), lambda: b"")
    assert outputs.of(b"first", call(), lambda: b"again") == b"again"
    outputs.of(b"large", call(), lambda: bytes(MOST_BYTES))
    assert outputs.of(b"large", call(), lambda: b"small") == b"small"
