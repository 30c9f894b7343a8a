"""How a consortium begins: keys, ledger, roster, and what each hospital takes home.

In a simulation one machine plays all parts, so this is also where the dealer's secret key is copied into every
hospital's folder; hospitals on separate hosts will need it sealed to their registered keys.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from blockchain.identity import Identity
from blockchain.ledger import Ledger
from encryption import SecretContext
from fedward.files import write_atomic
from fedward.hospital import PRIVATE, HospitalFolder, Membership, roster_digest, weights_digest
from fedward.run_folder import Member, RunFolder
from fedward.settings import Settings
from fedward.types import Address, GlobalModel, HospitalId, Partition, Vector


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


def create_parties(run: RunFolder, hospitals: Sequence[HospitalId], witness: bool = False) -> Parties:
    """Make the key pairs of server, hospitals and, where wanted, a witness, each in its own folder."""
    server = Identity.create(run.server)
    members = {}
    for hospital in hospitals:
        folder = HospitalFolder.create(run.hospital(hospital).path)
        members[hospital] = Identity.create(folder.identity)
    return Parties(server, members, Identity.create(run.witness) if witness else None)


def found_consortium(
    run: RunFolder,
    parties: Parties,
    partitions: Sequence[Partition],
    settings: Settings,
    rpc_url: str,
    initial: Vector,
    witnesses: Sequence[Address] = (),
) -> tuple[Ledger, tuple[Member, ...]]:
    """Deploy the ledger, enroll the hospitals, and let the dealer hand out the key.

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
    ledger = Ledger.deploy(rpc_url, parties.server, settings.ledger, settings.digest(), weights_digest(initial))
    members = []
    for index, partition in enumerate(partitions):
        identity, weight = parties.hospitals[partition.hospital], len(partition.train)
        ledger.register(identity.address, weight, identity.x25519_public_key, dealer=index == 0)
        members.append(Member(partition.hospital, identity.address, weight))

    for witness in witnesses:
        ledger.admit_witness(witness)

    secret = SecretContext.generate()
    dealer = parties.hospitals[partitions[0].hospital]
    Ledger.attach(rpc_url, ledger.contract, dealer).set_context(secret.public.fingerprint)
    write_atomic(run.public_context, secret.public.to_bytes())
    joined = roster_digest((member.address, member.weight) for member in members)
    genesis = ledger.genesis_hash()
    for member in members:
        folder = run.hospital(member.hospital)
        write_atomic(folder.secret_key, secret.to_bytes(), PRIVATE)
        folder.save_model(GlobalModel(initial, ledger.base_id()))
        membership = Membership(
            hospital=member.hospital,
            contract=ledger.contract,
            weight=member.weight,
            settings_digest=settings.digest().hex(),
            roster_digest=joined,
            chain_id=ledger.chain_id,
            genesis_hash=genesis.hex(),
            witnesses=tuple(witnesses),
        )
        folder.join(membership)
    return ledger, tuple(members)
