"""A node that is not ours, for the tests: anvil, from the packages of contracts/package.json."""

import os
import shutil
import socket
import subprocess
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
    """Anvil on a free port of loopback, with funded accounts."""
    node = Anvil(chain_id, **options)
    try:
        yield node.fund(funded)
    finally:
        node.stop()
