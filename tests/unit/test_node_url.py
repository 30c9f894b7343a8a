"""Addresses of nodes: what is this machine's, and what of an address may be shown."""

import contextlib

import pytest

from blockchain.audit.sources.node_rpc import NodeRpc
from blockchain.ledger.connection import Connection
from blockchain.ledger.node_url import is_loopback, shown_url, without_path
from fedward.errors import EvidenceError, LedgerError

NOBODY = "http://127.0.0.1:9/secret"


@pytest.mark.parametrize(
    ("url", "here", "shown"),
    [
        ("http://127.0.0.1:8545/secret", True, "http://127.0.0.1:8545"),
        ("http://127.9.9.9", True, "http://127.9.9.9"),
        ("http://[::1]:8545/a?b=c", True, "http://[::1]:8545"),
        ("http://localhost:1", True, "http://localhost:1"),
        ("https://node.example/v3/key", False, "https://node.example"),
        ("https://user:word@node.example:443/x", False, "https://node.example:443"),
        ("http://localhost.example", False, "http://localhost.example"),
        ("http://10.0.0.1:1", False, "http://10.0.0.1:1"),
        ("nonsense", False, "nonsense"),
        ("http://[::1", False, "http://[::1"),
        ("", False, ""),
    ],
)
def test_which_node_is_here_and_how_it_is_shown(url: str, here: bool, shown: str) -> None:
    assert (is_loopback(url), shown_url(url)) == (here, shown)
    assert without_path(f"no way to {url}", url).count("secret") == 0


def test_a_proxy_is_not_asked_for_this_machines_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://192.0.2.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    with contextlib.closing(NodeRpc(NOBODY)) as node, pytest.raises(EvidenceError, match="cannot be reached") as failed:
        node.ask("eth_chainId")
    assert "192.0.2.1" not in str(failed.value)
    with pytest.raises(LedgerError, match="cannot be reached") as lost:
        Connection(NOBODY, None)
    assert "192.0.2.1" not in str(lost.value)
    for error in (failed, lost):
        assert "secret" not in str(error.value)
