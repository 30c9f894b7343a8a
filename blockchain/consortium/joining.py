"""How a hospital joins a consortium, at its founding or later: five steps, each done by one party in its own folder.

1. The registrar begins the study on the ledger (`registrar.deploy_ledger`).
2. A hospital makes its keys, writes down what was agreed on, and publishes its card: its sealing key, signed
   (`apply_to_join`).
3. The registrar puts the hospital on the roster, with the sealing key of the hospital's own card (`registrar.register`,
   or `registrar.enroll` where rounds are under way already). On a running ledger that starts a new key epoch: no round
   opens until the dealer has named a key, and the newcomer never gets an old one.
4. Every hospital agrees to the roster, the dealer makes the key and seals it for each hospital, and all take it
   (`key_exchange`).
5. Every hospital gets the model in force (`model_handover`).

A simulation plays all parties, one after the other (`commands/simulate/founding.py`); on separate hosts each party does
its own steps. Every step may be repeated without harm, so a step that was interrupted is simply done again.
"""

import dataclasses

from blockchain.consortium.key_exchange import leave_card
from blockchain.identity import Identity
from fedward.folders.hospital import HospitalFolder, Membership, roster_digest
from fedward.folders.key_board import KeyBoard
from fedward.types import Address

NOBODY = roster_digest(())  # digest of an empty roster: none was agreed to yet


def apply_to_join(folder: HospitalFolder, board: KeyBoard, agreed: Membership) -> Address:
    """As a hospital with its own folder: make keys, write down the agreement, and publish the card.

    Until the hospital agrees to a roster (`agree_to_roster`), it deals no key, takes none, and does not train.

    Args:
        folder: The hospital's own; `HospitalFolder.create` made it.
        board: Where cards lie.
        agreed: What the hospital joins, as agreed outside of any message; the roster digest in it is ignored.

    Returns:
        The address that the registrar is to register.

    Raises:
        UsageError: the hospital's keys are damaged.
        ResourceError: the folder or the board cannot be written.
    """
    known = folder.identity.exists()
    identity = Identity.load(folder.identity) if known else Identity.create(folder.identity)
    folder.join(dataclasses.replace(agreed, roster_digest=NOBODY))
    leave_card(folder, board)
    return identity.address
