"""`main.py node`: the embedded Ethereum node by itself."""

from pathlib import Path
from typing import Annotated

import typer

from blockchain.node.host import HOST, parse_host
from commands import console


def node(
    folder: Annotated[Path, typer.Option("--dir", help="Where the chain's store lies; made where missing.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port; 0 takes a free one.")] = 8545,
    host: Annotated[
        str, typer.Option(help="IP address to listen on; another than loopback opens the node to others.")
    ] = HOST,
    chain_id: Annotated[int | None, typer.Option(help="Chain id; default ledger.chain-id.")] = None,
    fund: Annotated[list[str] | None, typer.Option(help="Account that can pay on a new chain; repeatable.")] = None,
) -> None:
    """Serve a ledger's chain over JSON-RPC until Ctrl-C, on loopback where nothing else is asked for."""
    from blockchain.node.embedded import start_node
    from fedward import settings as setting
    from fedward.types import Address

    if not parse_host(host).is_loopback:
        console.warn(
            f"On {host}, everybody who reaches the port may read the whole ledger and send transactions: the node has "
            "no TLS and no authentication. Put it behind a VPN or an authenticating proxy, or leave --host away."
        )
    chain = chain_id or setting.load().ledger.chain_id
    with start_node(folder, chain, [Address(account) for account in fund or ()], port, host=host) as running:
        console.note(f"Chain {chain} of {folder} answers at {running.url}; Ctrl-C stops it.")
        running.wait()
