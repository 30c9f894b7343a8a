"""A server's ledger node, as a process of its own: it keeps its address over a crash, and says it in `node.json`."""

import sys
from pathlib import Path
from urllib.parse import urlsplit

from blockchain.node.embedded import RunningNode, start_node
from fedward import entry
from fedward.errors import ResourceError
from fedward.folders.whereabouts import announced, announced_url


def serve(folder: Path, chain_id: int) -> None:
    """Answer JSON-RPC until this process is interrupted, to whoever reads `node.json` in the folder.

    Where the file is still there from a process that was killed, the node answers at the same URL, so that those who
    used it find it again.

    Args:
        folder: The chain's.
        chain_id: The chain's.

    Raises:
        LedgerError: the folder holds another chain, or none.
        ResourceError: the folder is in use or cannot be written.
    """
    with _start(folder, chain_id) as node, announced(folder, node.url):
        node.wait()


def _start(folder: Path, chain_id: int) -> RunningNode:
    """The node, where it was before if that port is still free."""
    before = urlsplit(announced_url(folder) or "")
    if before.port:
        secret = before.path.strip("/")
        try:
            return start_node(folder, chain_id, (), before.port, private=True, secret=secret, existing=True)
        except ResourceError:
            pass  # another program took the port; what else is wrong is found again below
    return start_node(folder, chain_id, (), private=True, existing=True)


if __name__ == "__main__":
    entry.end_with_parent()
    entry.run(lambda: serve(Path(sys.argv[1]), int(sys.argv[2])), lambda line: print(line, file=sys.stderr, flush=True))
