"""`main.py node`: the embedded Ethereum node by itself."""

from pathlib import Path
from typing import Annotated

import typer

from blockchain.node import start_node
from commands import console
from fedward import settings as setting
from fedward.types import Address


def node(
    folder: Annotated[Path, typer.Option("--dir", help="Where the chain's store lies; made where missing.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port on loopback; 0 takes a free one.")] = 8545,
    chain_id: Annotated[int | None, typer.Option(help="Chain id; default ledger.chain-id.")] = None,
    fund: Annotated[list[str] | None, typer.Option(help="Account that can pay on a new chain; repeatable.")] = None,
) -> None:
    """Serve a ledger's chain over JSON-RPC on loopback, until Ctrl-C."""
    chain = chain_id or setting.load().ledger.chain_id
    with start_node(folder, chain, [Address(account) for account in fund or ()], port) as running:
        console.note(f"Chain {chain} of {folder} answers at {running.url}; Ctrl-C stops it.")
        running.wait()
