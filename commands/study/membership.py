"""The administrator's acts about hospitals: on the ledger, at the SuperLink, and in the list of who may connect."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from blockchain.consortium.enrollment import SignedEnrollment, check_enrollment
from blockchain.consortium.registrar import enroll
from blockchain.identity import Identity
from blockchain.ledger.ledger import Ledger
from commands.passwords import use_password_of
from fedward.errors import LedgerError, UsageError
from fedward.folders.whereabouts import announced_url
from fedward.hosts.members import Admitted, Members
from fedward.hosts.server_kit import ServerKit
from fedward.hosts.superlink_control import SuperLinkControl
from fedward.types import HospitalId, Member

GAS_WEI = 10**18  # what a hospital's account is given: it sends few transactions, each of less than a thousandth


@contextmanager
def opened_registrar(kit: ServerKit) -> Iterator[Ledger]:
    """The study's ledger, with the server's account.

    Raises:
        LedgerError: the node of the kit is not running.
        UsageError: the kit is damaged, or the password of its account is missing.
    """
    use_password_of(kit.path)
    deployed, url = kit.load_project().require_deployed(), announced_url(kit.ledger)
    if url is None:
        raise LedgerError(f"The ledger of {kit.path} is not running.", f"Start it: {kit.path / 'start.sh'}.")
    account = Identity.load(kit.study.identity)
    with closing(Ledger.attach(url, deployed.contract, account, deployed.chain_id, kit.study.transactions)) as ledger:
        yield ledger


def admit_hospital(kit: ServerKit, ledger: Ledger, signed: SignedEnrollment) -> None:
    """Let a hospital in; may be repeated without harm.

    Its card goes onto the key board, its address onto the roster with funds for its transactions, its token's hash into
    the list of members, and its transport key to the SuperLink.

    Raises:
        VerificationError: the request is for another ledger, or not signed by the keys that it names.
        UsageError: the study has no such hospital, or another one uses its name or keys.
        LedgerError: the contract refused: a round runs, say.
    """
    project, asked = kit.load_project(), signed.enrollment
    check_enrollment(signed, project.require_deployed())
    if asked.hospital not in project.study.hospitals:
        raise UsageError(
            f"The study has no hospital {asked.hospital}.", f"It has {', '.join(project.study.hospitals)}."
        )
    member = Admitted(asked.hospital, asked.address, asked.weight, asked.transport_key, asked.token_hash)
    members = Members(kit.members)
    members.check_new(member)
    kit.study.keys.save_card(asked.address, asked.card)
    newcomer = Member(asked.hospital, asked.address, asked.weight)
    enroll(kit.study, ledger, newcomer, dealer=asked.hospital == project.study.hospitals[0])
    ledger.fund(asked.address, GAS_WEI)
    with SuperLinkControl(kit) as control:
        control.register_node(asked.transport_key)
    members.admit(member)


def revoke_hospital(kit: ServerKit, ledger: Ledger, hospital: HospitalId) -> None:
    """Put a hospital out: it may not connect, and is on no roster from now on; may be repeated without harm.

    Where it dealt the keys, the first hospital that is left deals them.

    Raises:
        UsageError: no such hospital was admitted.
        LedgerError: the contract refused: a round runs, say.
    """
    members = Members(kit.members)
    found = members.revoke(hospital)
    with SuperLinkControl(kit) as control:
        control.unregister_node(found.transport_key)
    if found.address in {entry.address for entry in ledger.roster()}:
        ledger.revoke(found.address)
    left = [entry.address for entry in ledger.roster()]
    if left and ledger.key_context().dealer not in left:
        ledger.name_dealer(left[0])
