"""`main.py keys`: a run's key epochs, read from its ledger and its folder, as a table or JSON."""

import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from rich.table import Table

from blockchain.consortium.key_status import EpochStatus, key_status
from blockchain.ledger.ledger import Ledger
from blockchain.node.embedded import start_node
from blockchain.node.store import copied
from commands import console
from fedward.errors import EvidenceError, LedgerError
from fedward.folders.server import RunRecord
from fedward.folders.simulation import SimulationFolder
from fedward.folders.whereabouts import announced_url
from fedward.settings import LedgerSettings
from fedward.tables import one_table
from fedward.types import Address, HospitalId

_SHOWN_DIGITS = 16


def show_epochs(run: Path, as_json: bool) -> None:
    """Print key epochs, fingerprints and who has taken which key, of a run that is running or stopped.

    Raises:
        EvidenceError: the folder holds no run.
        LedgerError: its chain cannot be read.
        ResourceError: another process holds the chain, and no node of the run answers.
    """
    folder = SimulationFolder(run)
    record = folder.server.load_record()
    names = {member.address: member.hospital for member in record.roster}
    with _ledger(folder, record) as ledger:
        held = {member.hospital: folder.hospital(member.hospital).held_keys() for member in record.roster}
        found = key_status(record.roster, held, folder.server.keys, ledger)
        current = {entry.address for entry in ledger.roster()}
    active = [member.hospital for member in record.roster if member.address in current]
    known = folder.hospitals.is_dir()  # on separate hosts each hospital has its own
    facts = [_facts(status, names) | ({} if known else {"taken": None}) for status in found]
    if as_json:
        console.data({"epochs": facts, "roster": active})
        return
    console.out.print(_table(facts))
    waiting = [hospital for hospital in active if hospital not in found[-1].taken]
    if found[-1].fingerprint is None:
        console.warn(f"Epoch {found[-1].epoch} has no key yet: no round opens until the dealer has named one.")
    elif not known:
        console.note("Which keys a hospital has taken only its own folder says, and none is here.")
    elif waiting:
        console.warn(f"Still to take the key of epoch {found[-1].epoch}: {', '.join(waiting)}.")


@contextmanager
def _ledger(folder: SimulationFolder, record: RunRecord) -> Iterator[Ledger]:
    """The run's ledger: on the node that serves it, or on a node that is started for reading.

    Raises:
        EvidenceError: there is no chain in the folder.
        LedgerError: the chain cannot be read, or the contract is not on it.
        ResourceError: another process holds the chain, and no node of the run answers.
    """
    url = announced_url(folder.ledger)
    if url is not None:
        try:
            running = Ledger.attach(url, record.contract)
        except LedgerError:  # a crash leaves the announcement
            running = None
        if running is not None:
            with closing(running):
                if running.genesis_hash().hex() == record.genesis_hash:
                    yield running
                    return
    if not (folder.ledger / "chain.sqlite").is_file():  # a node would begin a new chain there
        raise EvidenceError(f"There is no chain in {folder.ledger}.", "Name the folder of a run that has its ledger.")
    chain_id = one_table("ledger", LedgerSettings, record.settings.get("ledger", {})).chain_id
    with (
        _writable(folder.ledger) as chain,
        start_node(chain, chain_id, (), private=True, existing=True) as node,
        closing(Ledger.attach(node.url, record.contract)) as ledger,
    ):
        yield ledger


@contextmanager
def _writable(ledger: Path) -> Iterator[Path]:
    """The ledger's folder; a copy where this user or the disk lets nobody write, for a node writes even to read.

    Raises:
        ResourceError: the copy cannot be made.
    """
    store = ledger / "chain.sqlite"
    if os.access(ledger, os.W_OK) and os.access(store, os.W_OK):
        yield ledger
        return
    with copied(store) as copy:
        yield copy.parent


def _facts(status: EpochStatus, names: Mapping[Address, HospitalId]) -> dict[str, Any]:
    """One epoch as JSON's types."""
    return {
        "epoch": status.epoch,
        "reason": status.reason,
        "who": names.get(status.who, status.who) if status.who else None,
        "block": status.block,
        "fingerprint": status.fingerprint.hex() if status.fingerprint else None,
        "rounds": status.rounds,
        "sealed": status.sealed,
        "taken": status.taken,
    }


def _table(facts: list[dict[str, Any]]) -> Table:
    """The epochs as a table."""
    table = Table("epoch", "began", "key", "rounds", "taken by", title="Key epochs", title_justify="left")
    for epoch in facts:
        began = f"{epoch['reason']}: {epoch['who']}" if epoch["who"] else epoch["reason"]
        key = f"{epoch['fingerprint'][:_SHOWN_DIGITS]}…" if epoch["fingerprint"] else "none yet"
        rounds = ", ".join(map(str, epoch["rounds"])) or "-"
        taken = "not known here" if epoch["taken"] is None else ", ".join(epoch["taken"]) or "-"
        table.add_row(str(epoch["epoch"]), began, key, rounds, taken)
    return table
