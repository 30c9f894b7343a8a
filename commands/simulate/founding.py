"""Founding of a simulated consortium: every party's acts, one after the other, each with that party's folder only.

`blockchain.consortium.joining` has the acts themselves, and explains their order; on separate hosts each party does its
own. Also here, the dealer's key reaches the other hospitals only sealed.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from blockchain.consortium.joining import NOBODY, apply_to_join
from blockchain.consortium.key_exchange import agree_to_roster, deal_key, take_key
from blockchain.consortium.model_handover import model_in_force, start_from
from blockchain.consortium.registrar import deploy_ledger, register
from blockchain.identity import Identity
from blockchain.ledger.ledger import Ledger
from fedward.folders.hospital import HospitalFolder, Membership
from fedward.folders.simulation import SimulationFolder
from fedward.folders.whereabouts import NodeAddress
from fedward.learning.digest import weights_digest
from fedward.settings import Settings
from fedward.types import Address, HospitalId, Member, Partition, Vector


@dataclass(frozen=True)
class Parties:
    """The keys of everybody who signs: the server, the hospitals in roster order, and the witness.

    The first hospital is the dealer. There is a witness, which attests, only where the settings require one.
    """

    server: Identity
    hospitals: dict[HospitalId, Identity]
    witness: Identity | None

    def addresses(self) -> tuple[Address, ...]:
        """The accounts of all parties, which need funds to send transactions."""
        hospitals = (identity.address for identity in self.hospitals.values())
        return (self.server.address, *hospitals, *self.witnesses())

    def witnesses(self) -> tuple[Address, ...]:
        """The witness's address, if there is one."""
        return (self.witness.address,) if self.witness else ()


def create_parties(run: SimulationFolder, hospitals: Sequence[HospitalId], witness: bool = False) -> Parties:
    """Make the key pairs of server, hospitals and, where wanted, a witness, each in its own folder."""
    server = Identity.create(run.server.identity)
    members = {}
    for hospital in hospitals:
        folder = HospitalFolder.create(run.hospital(hospital).path)
        members[hospital] = Identity.create(folder.identity)
    return Parties(server, members, Identity.create(run.witness.identity) if witness else None)


def found_consortium(
    run: SimulationFolder,
    parties: Parties,
    partitions: Sequence[Partition],
    settings: Settings,
    rpc_url: str,
    initial: Vector,
) -> tuple[Ledger, tuple[Member, ...]]:
    """Let the server deploy the ledger, every hospital join it, and the dealer hand out the key.

    Args:
        run: The parties' folders; `create_parties` made them. They are told where the node listens.
        parties: Who signs. A witness is admitted on the ledger, and pinned by each hospital.
        partitions: The hospitals' images, in roster order; the enrolled weight is their number of training images.
        settings: Their digest goes on the ledger.
        rpc_url: Where the ledger's node listens.
        initial: Initial weights; their digest goes on the ledger.

    Raises:
        LedgerError: the node cannot be reached, or the contract refused.
    """
    board, ledger = run.server.keys, deploy_ledger(run.server, settings, weights_digest(initial), rpc_url)
    folders = [run.hospital(partition.hospital) for partition in partitions]
    members = []
    for folder, partition in zip(folders, partitions, strict=True):
        agreed = Membership(
            hospital=partition.hospital,
            contract=ledger.contract,
            weight=len(partition.train),
            settings_digest=settings.digest().hex(),
            roster_digest=NOBODY,
            chain_id=ledger.chain_id,
            genesis_hash=ledger.genesis_hash().hex(),
            witnesses=parties.witnesses(),
        )
        folder.save_ledger_node(NodeAddress(rpc_url))
        members.append(Member(partition.hospital, apply_to_join(folder, board, agreed), agreed.weight))
        register(ledger, board, members[-1], dealer=folder is folders[0])
    for witness in parties.witnesses():
        ledger.admit_witness(witness)
    for folder in folders:
        agree_to_roster(folder, [(member.address, member.weight) for member in members])
        start_from(folder, model_in_force(ledger), initial)
    dealer, account = folders[0], Identity.load(folders[0].identity)
    with closing(Ledger.attach(rpc_url, ledger.contract, account, ledger.chain_id, dealer.transactions)) as own:
        deal_key(dealer, own, board)
    for folder in folders:
        take_key(folder, ledger, board)
    return ledger, tuple(members)


def settle_founding(run: SimulationFolder, rpc_url: str) -> None:
    """Send again what a crash or a reorganization kept off the chain: the server's transactions, then hospitals'.

    The server's come first, because a key can only be named on a ledger that is there, by a hospital that is on its
    roster.

    Args:
        run: The run folder; as at the founding, each account's transactions lie in its own part.
        rpc_url: Where the ledger's node listens.

    Raises:
        LedgerError: the node cannot be reached, or an account has sent other transactions with the same nonces.
        EvidenceError: `run.json` is missing or damaged.

    Limits: after a reorganization a round's transactions may come in another order, and some then fail. A commitment
    names the ledger head, so it never counts for another history.
    """
    record = run.server.load_record()
    parties = [(run.server.identity, run.server.transactions)]
    hospitals = (run.hospital(member.hospital) for member in record.roster)
    parties += [(hospital.identity, hospital.transactions) for hospital in hospitals if hospital.transactions.is_dir()]
    for keys, outbox in parties:
        Ledger.attach(rpc_url, record.contract, Identity.load(keys), outbox=outbox).close()
