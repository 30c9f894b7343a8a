"""A hospital's acts before the next round: agree to the roster, deal or take the key, and take the model in force."""

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TypeVar

from blockchain.catch_up import MissingAggregates, catch_up
from blockchain.consortium.held_keys import HeldKeys
from blockchain.consortium.key_exchange import agree_to_roster, deal_key, take_key
from blockchain.consortium.model_handover import (
    ModelInForce,
    check_in_force,
    digest_in_force,
    hand_over_model,
    model_in_force,
    start_from,
    take_model,
)
from blockchain.identity import Identity
from blockchain.ledger.fold import first_base_id
from blockchain.ledger.ledger import Ledger
from commands import console
from commands.agree.agreed_roster import save_agreed
from commands.confirming import confirm_number
from commands.passwords import use_password_of
from commands.study.roster import roster_text
from fedward.errors import EvidenceError, VerificationError
from fedward.folders.hospital import model_bytes
from fedward.folders.key_board import KeyBoard
from fedward.hosts.gateway_client import GatewayClient
from fedward.hosts.hospital_kit import HospitalKit
from fedward.hosts.project import Project
from fedward.hosts.remote_board import RemoteBoard
from fedward.learning.digest import weights_digest
from fedward.learning.model import Classifier
from fedward.learning.weight_shapes import ModelSpec
from fedward.types import Member, Vector

Taken = TypeVar("Taken")
_POLL_S = 2.0


def agree_and_take(kit: HospitalKit, number: str | None, wait_s: int) -> None:
    """Agree to the roster on the ledger, and get ready for the next round; may be repeated without harm.

    Args:
        kit: The hospital's.
        number: The roster's number, as the administrator read it; None: it is asked for.
        wait_s: How long to wait for what other hospitals have yet to do: deal the key, hand over the model.

    Raises:
        VerificationError: the number is another, or this hospital is not on the roster as it enrolled, or the server
            names not all who are; or what was found on the key board is not what the ledger names.
        EvidenceError: the others have not done their part in time.
        ResourceError, LedgerError: the server, or the ledger behind it, cannot be reached.
    """
    use_password_of(kit.path)
    project, folder = kit.load_project(), kit.hospital
    membership, identity = folder.membership(), Identity.load(folder.identity)
    with (
        GatewayClient.of(kit) as client,
        folder.locked(),
        closing(
            Ledger.attach(folder.ledger_node(), membership.contract, identity, membership.chain_id, folder.transactions)
        ) as ledger,
    ):
        ledger.check_rules(project.settings.ledger)
        in_force = model_in_force(ledger)
        agreed = _confirm_roster(kit, project, ledger, client, in_force, number)
        agree_to_roster(folder, [(one.address, one.weight) for one in agreed])
        save_agreed(kit, agreed)
        board = RemoteBoard(client)
        dealer = ledger.key_context().dealer
        if dealer == identity.address:
            deal_key(folder, ledger, board)
        _patiently(lambda: take_key(folder, ledger, board), "the dealer's key", wait_s)
        _take_model(kit, project, ledger, board, in_force, wait_s)
        if dealer == identity.address:
            _hand_over(kit, ledger, board, agreed)
    start = kit.path / "start.sh"
    console.out.print(f"{membership.hospital} is ready for the next round. Start it: {start}", soft_wrap=True)


def _confirm_roster(
    kit: HospitalKit,
    project: Project,
    ledger: Ledger,
    client: GatewayClient,
    in_force: ModelInForce,
    number: str | None,
) -> tuple[Member, ...]:
    """The roster on the ledger with names, once a person has compared its number with the administrator's."""
    roster, membership = ledger.roster(), kit.hospital.membership()
    own = Identity.load(kit.hospital.identity).address
    if not any((one.address, one.weight) == (own, membership.weight) for one in roster):
        raise VerificationError(
            f"{membership.hospital} is not on the ledger's roster with {membership.weight} training images.",
            "Ask the administrator to admit the request of this kit.",
        )
    names = {member.address: member.hospital for member in client.members()}
    nameless = [one.address for one in roster if one.address not in names]
    if nameless:
        raise VerificationError(
            f"{nameless[0]} is on the ledger's roster, and the server names no hospital for it.",
            "Ask the administrator whose account that is, and whether it was revoked.",
        )
    text = roster_text(project.require_deployed(), roster, names, in_force)
    console.note(text)
    confirm_number("this roster", text.encode(), number)
    return tuple(Member(names[one.address], one.address, one.weight) for one in roster)


def _take_model(
    kit: HospitalKit, project: Project, ledger: Ledger, board: KeyBoard, agreed: ModelInForce, wait_s: int
) -> None:
    """Have the model in force: from the settings, from the hospital's own folder, or from another hospital.

    Which one that is, people have compared: else a node could tell hospitals of different ones.
    """
    folder, initial = kit.hospital, _initial_weights(project)
    # Before the first accepted round the model follows from settings and base id, whatever else the node tells: a model
    # of the server's making could be one of which this hospital's update would be nothing but zeros.
    first = first_base_id(weights_digest(initial), project.settings.digest())
    if not folder.has_model() and agreed.base_id == first:
        start_from(folder, agreed, initial)
    elif folder.has_model():
        try:
            model = catch_up(folder, ledger, HeldKeys(folder), project.settings, agreed.base_id, {})
        except MissingAggregates:  # the server sends them with the next round
            return
        check_in_force(model_bytes(model), agreed)
    else:
        _patiently(lambda: take_model(folder, ledger, board, len(initial), agreed), "another hospital's model", wait_s)


def _hand_over(kit: HospitalKit, ledger: Ledger, board: KeyBoard, roster: Sequence[Member]) -> None:
    """Leave the model in force for newcomers, where there is one beside the initial."""
    if digest_in_force(ledger) == ledger.initial_model_digest():
        return
    own = Identity.load(kit.hospital.identity).address
    for entry in roster:
        if entry.address != own:
            hand_over_model(kit.hospital, ledger, board, entry.address)


def _initial_weights(project: Project) -> Vector:
    """The weights that everybody starts from, made from the settings."""
    settings = project.settings
    spec = ModelSpec(settings.model.name, settings.data.image_size, len(project.study.findings))
    weights = Classifier(spec, settings.training.seed, settings.model.weights).get_weights()
    if weights_digest(weights).hex() != project.require_deployed().model_digest:
        raise VerificationError(
            "The initial model that the settings give here is not the one on the ledger.",
            "Install the versions in requirements.lock at this hospital and at the server.",
        )
    return weights


def _patiently(take: Callable[[], Taken], what: str, wait_s: int) -> Taken:
    """Try again while something has not been left yet, until the time is over."""
    deadline, told = time.monotonic() + wait_s, False
    while True:
        try:
            return take()
        except EvidenceError as error:
            if time.monotonic() >= deadline:
                raise
            if not told:
                console.note(f"Waiting for {what}: {error.what}")
                told = True
            time.sleep(_POLL_S)
