"""How a consortium begins: keys, ledger, roster, and what each hospital takes home.

In a simulation one machine plays all parts, each with its own folder only; the dealer's key reaches the others sealed.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from blockchain.consortium.key_exchange import deal_key, leave_card, take_key
from blockchain.identity import Identity
from blockchain.ledger.ledger import Ledger
from fedward.folders.hospital import HospitalFolder, Membership, roster_digest, weights_digest
from fedward.folders.key_board import KeyBoard
from fedward.folders.simulation import SimulationFolder
from fedward.settings import Settings
from fedward.types import Address, GlobalModel, HospitalId, Member, Partition, Vector


@dataclass(frozen=True)
class Parties:
    """Everybody who signs: the server and the hospitals, in roster order; the first hospital is the dealer.

    A witness attests; it is there where the settings require one.
    """

    server: Identity
    hospitals: dict[HospitalId, Identity]
    witness: Identity | None

    def addresses(self) -> tuple[Address, ...]:
        """All of them, to be given what they need to send transactions."""
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
    witnesses: Sequence[Address] = (),
) -> tuple[Ledger, tuple[Member, ...]]:
    """Deploy the ledger, enroll the hospitals, and let the dealer hand out the key.

    What a hospital does here, it does with its own folder, the ledger and the public key board only.

    Args:
        run: The run folder; the hospitals' folders exist.
        parties: Who signs.
        partitions: The hospitals' images, in roster order; the enrolled weight is their number of training images.
        settings: Their digest goes on the ledger.
        rpc_url: Where the ledger's node listens.
        initial: Initial weights; their digest goes on the ledger.
        witnesses: Who may attest to aggregates: admitted on the ledger, and pinned by each hospital.

    Raises:
        LedgerError: the node cannot be reached, or the contract refused.
    """
    digests = settings.digest(), weights_digest(initial)
    ledger = Ledger.deploy(rpc_url, parties.server, settings.ledger, *digests, outbox=run.server.transactions)
    members = []
    for index, partition in enumerate(partitions):
        identity, weight = parties.hospitals[partition.hospital], len(partition.train)
        ledger.register(identity.address, weight, identity.x25519_public_key, dealer=index == 0)
        members.append(Member(partition.hospital, identity.address, weight))

    for witness in witnesses:
        ledger.admit_witness(witness)

    for member in members:
        _join(run.hospital(member.hospital), run.server.keys, ledger, members, member, settings, initial, witnesses)
    dealer = run.hospital(members[0].hospital)
    account = Identity.load(dealer.identity)
    with closing(
        Ledger.attach(rpc_url, ledger.contract, account, ledger.chain_id, dealer.transactions)
    ) as dealers_ledger:
        deal_key(dealer, dealers_ledger, run.server.keys)
    for member in members:
        take_key(run.hospital(member.hospital), ledger, run.server.keys)
    return ledger, tuple(members)


def settle_founding(run: SimulationFolder, rpc_url: str) -> None:
    """Send again what a crash or a reorganization kept off the chain: the server's transactions, then hospitals' own.

    In this order because a key can only be named on a ledger that is there, by a hospital that is on its roster.

    Args:
        run: The run folder; as at the founding, each account's transactions lie in its own part.
        rpc_url: Where the ledger's node listens.

    Raises:
        LedgerError: the node cannot be reached, or an account has sent other transactions in their place.
        EvidenceError: `run.json` is missing or damaged.

    Limits: what a round recorded may come back in another order, and then as a failed transaction; commitments name the
    ledger head, so none of them counts for another history.
    """
    record = run.server.load_record()
    parties = [(run.server.identity, run.server.transactions)]
    hospitals = (run.hospital(member.hospital) for member in record.roster)
    parties += [(hospital.identity, hospital.transactions) for hospital in hospitals if hospital.transactions.is_dir()]
    for keys, outbox in parties:
        Ledger.attach(rpc_url, record.contract, Identity.load(keys), outbox=outbox).close()


def _join(
    folder: HospitalFolder,
    board: KeyBoard,
    ledger: Ledger,
    members: Sequence[Member],
    member: Member,
    settings: Settings,
    initial: Vector,
    witnesses: Sequence[Address],
) -> None:
    """As a hospital: write down what was agreed on, take the initial model, and leave the card."""
    folder.save_model(GlobalModel(initial, ledger.base_id()))
    folder.join(
        Membership(
            hospital=member.hospital,
            contract=ledger.contract,
            weight=member.weight,
            settings_digest=settings.digest().hex(),
            roster_digest=roster_digest((each.address, each.weight) for each in members),
            chain_id=ledger.chain_id,
            genesis_hash=ledger.genesis_hash().hex(),
            witnesses=tuple(witnesses),
        )
    )
    leave_card(folder, board)
