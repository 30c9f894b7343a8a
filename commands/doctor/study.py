"""Checks of what a kit agreed to: images, study, roster, channel key, code, and at the server the ledger's node."""

from contextlib import closing

from blockchain.consortium.held_keys import HeldKeys
from blockchain.consortium.joining import NOBODY
from blockchain.ledger.ledger import Ledger
from blockchain.own_images import load_images
from commands.doctor.finding import Finding, failure, fine, watch
from fedward.checked_json import read_json
from fedward.files import read_file, sha256
from fedward.folders.whereabouts import NodeAddress, announced_url
from fedward.hosts.approvals import Approvals
from fedward.hosts.hospital_kit import HospitalKit
from fedward.hosts.members import Members
from fedward.hosts.server_kit import ServerKit
from fedward.hosts.superlink_control import SuperLinkControl

_MOST_BUNDLE_BYTES = 64 * 1024 * 1024
_AGAIN = "Take the images that were enrolled, or enroll anew."


def check_data(kit: HospitalKit) -> Finding:
    """The images are readable, whole, labeled with the study's findings, and as many as were enrolled."""
    project = kit.load_project()
    partition = load_images(kit.hospital, project.settings.image_encryption)
    if partition.findings != project.study.findings:
        have, wanted = ", ".join(partition.findings), ", ".join(project.study.findings)
        return failure(f"The images are labeled with {have}, the study is about {wanted}.", _AGAIN)
    size = partition.train.images.shape[1]
    if size != project.settings.data.image_size:
        return failure(f"The images are {size} pixels wide, the study has {project.settings.data.image_size}.", _AGAIN)
    enrolled = kit.hospital.membership().weight
    if len(partition.train) != enrolled:
        return failure(f"There are {len(partition.train)} training images, {enrolled} were enrolled.", _AGAIN)
    counts = f"{len(partition.train)} to train on, {len(partition.val)} to validate, {len(partition.test)} to test"
    if not len(partition.val):
        return watch(f"Images: {counts}.", "Without images to validate on this hospital cannot judge a model.")
    return fine(f"Images: {counts}.")


def check_forks(kit: HospitalKit) -> Finding:
    """No other hospital or node was seen to have other blocks; the second node answers, where there is one."""
    fork = kit.hospital.fork
    if fork.exists():
        return failure(
            f"Another hospital or node has other blocks than this hospital was shown: {fork} says which.",
            "Compare checkpoints with the others; once it is settled, remove that file.",
        )
    if not kit.second_node.exists():
        return fine("No fork was found, by what other hospitals signed; there is no second node to compare with.")
    node = read_json(NodeAddress, kit.second_node, "The second node's address", "Correct it.")
    joined = kit.hospital.membership()
    with closing(Ledger.attach(node, joined.contract, None, joined.chain_id)) as ledger:
        return fine(f"No fork was found; the second node is at block {ledger.head().height}.")


def check_membership(kit: HospitalKit) -> Finding:
    """The hospital joined the study of the project's file: ledger, settings and name."""
    project, joined = kit.load_project(), kit.hospital.membership()
    deployed = project.require_deployed()
    pairs = {
        "ledger": (joined.contract, deployed.contract),
        "chain": (joined.chain_id, deployed.chain_id),
        "block 0": (joined.genesis_hash, deployed.genesis_hash),
        "settings": (joined.settings_digest, deployed.settings_digest),
        "witnesses": (joined.witnesses, deployed.witnesses),
        "settings in the file": (project.settings.digest().hex(), deployed.settings_digest),
    }
    differing = [name for name, (ours, theirs) in pairs.items() if ours != theirs]
    if differing or joined.hospital not in project.study.hospitals:
        named = ", ".join(differing) or f"name {joined.hospital}"
        return failure(
            f"What this hospital joined is not what project.toml says: {named}.",
            "Restore both from a backup of the same day, or enroll anew.",
        )
    return fine(f"{joined.hospital} joined the study {project.study.name}.")


def check_roster(kit: HospitalKit) -> Finding:
    """The hospital agreed to a roster; without that it takes part in no round."""
    if kit.hospital.membership().roster_digest == NOBODY:
        return failure(
            "This hospital has not agreed to a roster.", "Once the administrator has admitted all: main.py agree"
        )
    return fine("This hospital agreed to a roster.")


def check_channel_key(kit: HospitalKit) -> Finding:
    """The hospital took the channel key, and it opens."""
    if not kit.hospital.held_keys():
        return failure("This hospital has taken no channel key.", "Once the dealer has left it: main.py agree")
    fingerprint, held = HeldKeys(kit.hospital).fingerprint, kit.hospital.held_keys()
    return fine(f"The channel key of epoch {held[-1].epoch} is here: {fingerprint.hex()[:16]}.")


def check_approval(kit: HospitalKit) -> Finding:
    """The hospital approved the project's code and settings, so that its SuperNode runs them."""
    deployed, approval = kit.load_project().require_deployed(), Approvals(kit.approvals).current()
    if approval is None:
        return failure("This hospital has approved no code, so its SuperNode runs none.", "Run main.py approve.")
    for what, have, wanted in (
        ("code", approval.bundle, deployed.bundle),
        ("settings", approval.settings, deployed.settings_digest),
    ):
        if have != wanted:
            return failure(
                f"This hospital approved {what} {have}, the project's is {wanted}.",
                "If the administrator announced the change, look at it and approve it: main.py approve",
            )
    return fine(f"The code that this hospital approved is the project's: {approval.bundle[:16]}.")


def check_bundle(kit: ServerKit) -> Finding:
    """The code that the server hands out is the one that hospitals approved by the project's file."""
    wanted = kit.load_project().require_deployed().bundle
    content = read_file(kit.bundle, _MOST_BUNDLE_BYTES, "The code for hospitals", "Restore it from a backup.")
    found = sha256(content).hex()
    if found != wanted:
        return failure(
            f"{kit.bundle} is {found}, the project's code is {wanted}; hospitals refuse it.",
            "Restore it from a backup, or let all hospitals approve the new one.",
        )
    return fine(f"The code for hospitals is the project's: {found[:16]}.")


def check_superlink(kit: ServerKit) -> Finding:
    """The SuperLink answers on loopback, and knows the SuperNodes of all admitted hospitals."""
    with SuperLinkControl(kit) as control:
        nodes = {node.public_key: node for node in control.list_nodes() if node.status != "unregistered"}
    admitted = [member for member in Members(kit.members).all() if not member.revoked]
    missing = [member.hospital for member in admitted if _bare(member.transport_key) not in nodes]
    if missing:
        return failure(
            f"Admitted, and not registered with the SuperLink: {', '.join(missing)}.",
            "Admit their requests once more: main.py admit",
        )
    online = sum(nodes[_bare(member.transport_key)].status == "online" for member in admitted)
    return fine(f"The SuperLink answers; {online} of {len(admitted)} admitted hospitals are connected.")


def _bare(public_key_line: str) -> str:
    """A public key of OpenSSH without the comment behind it."""
    return " ".join(public_key_line.split()[:2])


def check_own_ledger(kit: ServerKit) -> Finding:
    """The server's node answers with the project's ledger, and admitted hospitals are on its roster."""
    deployed, url = kit.load_project().require_deployed(), announced_url(kit.ledger)
    if url is None:
        return failure("The ledger's node does not run.", f"Start the server: main.py serve {kit.path}")
    with closing(Ledger.attach(url, deployed.contract, None, deployed.chain_id)) as ledger:
        genesis = ledger.genesis_hash().hex()
        if genesis != deployed.genesis_hash:
            return failure(
                f"Block 0 of the ledger is {genesis}, the project's is {deployed.genesis_hash}.",
                "Restore the kit's folder ledger/ from a backup.",
            )
        on_roster = {entry.address: entry.weight for entry in ledger.roster()}
        missing = [
            member.hospital
            for member in Members(kit.members).all()
            if not member.revoked and on_roster.get(member.address) != member.weight
        ]
        if missing:
            return failure(
                f"Admitted, and not on the ledger's roster as admitted: {', '.join(missing)}.",
                "Admit their requests once more: main.py admit",
            )
        return fine(f"The ledger's node answers; block {ledger.head().height}, {len(on_roster)} hospitals.")
