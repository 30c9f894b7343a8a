"""A node that is not ours, for the tests: anvil, from the packages of contracts/package.json."""

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from blockchain.node.chain import FUNDED_WEI
from fedward.types import Address

ROOT = Path(__file__).resolve().parents[1]
START_TIMEOUT_S = 20
LOOK_S = 1.0  # between two looks for transactions that anvil forgot


def anvil_binary() -> Path:
    """The program; the test is skipped where it is not installed, which CI does not let pass."""
    packages = (ROOT / "contracts" / "node_modules" / "@foundry-rs").glob("anvil-*/bin/anvil*")
    found = next((path for path in packages if os.access(path, os.X_OK)), None) or shutil.which("anvil")
    if found is None:
        pytest.skip("anvil is not installed; make contracts/node_modules")
    return Path(found)


def free_port() -> int:
    """A TCP port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Anvil:
    """A running anvil.

    Attributes:
        url: Where JSON-RPC is answered.
        port: The TCP port.
    """

    def __init__(self, chain_id: int, port: int = 0, state: Path | None = None) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._session = requests.Session()
        command = [
            *(str(anvil_binary()), "--silent", "--host", "127.0.0.1", "--port", str(self.port), "--accounts", "1"),
            *("--chain-id", str(chain_id), "--hardfork", "cancun"),
            *(("--state", str(state)) if state else ()),
        ]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            self._wait_until_it_answers(chain_id)
        except BaseException:
            self.stop()
            raise

    def _wait_until_it_answers(self, chain_id: int) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                assert int(self.ask("eth_chainId"), 16) == chain_id
            except requests.ConnectionError:
                assert self._process.poll() is None, "anvil ended at once"
                assert time.monotonic() < deadline, "anvil does not answer"
                time.sleep(0.02)
            else:
                return

    def ask(self, method: str, *params: Any) -> Any:
        """The result of any JSON-RPC request."""
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = self._session.post(self.url, json=request, timeout=20).json()
        assert "error" not in answer, answer
        return answer["result"]

    def fund(self, addresses: Sequence[Address]) -> "Anvil":
        """Give accounts what they have on the embedded node."""
        for address in addresses:
            self.ask("anvil_setBalance", address, hex(FUNDED_WEI))
        return self

    def move_to(self, moment: float) -> None:
        """Let the chain's time be at least a moment, in seconds since 1970."""
        ahead_s = int(moment) + 1 - int(self.ask("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
        if ahead_s > 0:
            self.ask("evm_increaseTime", ahead_s)
            self.ask("evm_mine")

    def forgotten(self) -> list[str]:
        """Hashes of transactions whose turn it is, and that wait all the same for one before them."""
        return [
            transaction["hash"]
            for account, waiting in self.ask("txpool_content")["queued"].items()
            for transaction in waiting.values()
            if int(transaction["nonce"], 16) == int(self.ask("eth_getTransactionCount", account, "latest"), 16)
        ]

    def start_pool_anew(self) -> None:
        """Take all transactions out of the pool and hand them over again, by their nonces."""
        content = self.ask("txpool_content")
        transactions = [
            transaction
            for waiting in (*content["pending"].values(), *content["queued"].values())
            for transaction in waiting.values()
        ]
        transactions.sort(key=lambda transaction: int(transaction["nonce"], 16))
        raw = [self.ask("eth_getRawTransactionByHash", transaction["hash"]) for transaction in transactions]
        self.ask("anvil_dropAllTransactions")
        for one in raw:
            self.ask("eth_sendRawTransaction", one)

    def stop(self) -> None:
        """End the process as Ctrl-C would; with a state file, the chain is then in it."""
        self._session.close()
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def running_anvil(chain_id: int, funded: Sequence[Address] = (), **options: Any) -> Iterator[Anvil]:
    """Anvil on a free port of loopback, with funded accounts; what it forgets is handed to it anew."""
    node = Anvil(chain_id, **options)
    over = threading.Event()
    reminder = threading.Thread(target=_remind, args=(node, over))
    reminder.start()
    try:
        yield node.fund(funded)
    finally:
        over.set()
        reminder.join()
        node.stop()


def _remind(node: Anvil, over: threading.Event) -> None:
    """Hand to anvil anew what it forgot, until a test is over.

    Several transactions of one account, handed over together: while a block is being made, anvil 1.7.1 can put the next
    one among those that wait for one before them, which is in that block already. There it stays, whatever is sent or
    mined, and sent again it is "already imported" (https://github.com/foundry-rs/foundry/issues/10122; seen once in
    some thousand batches of twelve on a busy machine). No client can help that without signing anew, so the tests do.
    """
    seen: set[str] = set()
    while not over.wait(LOOK_S):
        try:
            forgotten = set(node.forgotten())
            if forgotten & seen:
                node.start_pool_anew()
        except (requests.RequestException, AssertionError):
            forgotten = set()  # a test has stopped the node, or taken something back meanwhile
        seen = forgotten
