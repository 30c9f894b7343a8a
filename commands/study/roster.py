"""The roster as people confirm it: one text, the same at the server and at every hospital, and its number."""

from collections.abc import Iterable, Mapping

from blockchain.consortium.model_handover import ModelInForce
from blockchain.ledger.records import RosterEntry
from fedward.hosts.project import Deployed
from fedward.types import Address, HospitalId


def roster_text(
    deployed: Deployed, roster: Iterable[RosterEntry], names: Mapping[Address, HospitalId], in_force: ModelInForce
) -> str:
    """Ledger, settings, code, model and hospitals as a text; whoever compares its number compares all of them.

    Args:
        deployed: What the project's file says of ledger and code.
        roster: Who is on the ledger's roster, in its order.
        names: The hospitals' names, as the server has them. A hospital with another name here is noticed by people.
        in_force: The model that the next round starts from: with each accepted round it is another.
    """
    lines = [f"  {names.get(one.address, '?'):<32} {one.address}  {one.weight} images" for one in roster]
    head = f"Ledger {deployed.contract} on chain {deployed.chain_id}, from block {deployed.genesis_hash[:16]}"
    model = f"Model {in_force.digest.hex()} of history {in_force.base_id.hex()}"
    settings, code = f"Settings {deployed.settings_digest}", f"Code {deployed.bundle}"
    return "\n".join([head, settings, code, model, "Hospitals:", *lines])
