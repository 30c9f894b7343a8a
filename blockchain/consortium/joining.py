"""How a hospital joins a consortium, at its founding or later: each act is one party's, with its own folder only.

1. The registrar begins the study on the ledger (`registrar.deploy_ledger`).
2. A hospital makes its keys, writes down what was agreed on, and leaves its card (`apply_to_join`).
3. The registrar puts it on the roster, with the sealing key of its own card (`registrar.register`; `registrar.enroll`
   where rounds are under way already). On a running ledger that starts a new key epoch: no round opens until the dealer
   has named a key, and the newcomer never gets an old one.
4. Every hospital agrees to the roster, the dealer deals, and all take the key (`key_exchange`).
5. Every hospital gets the model in force (`model_handover`).

A simulation plays all the parts one after the other (`commands/simulate/founding.py`); on separate hosts each party
does its own. Every act is harmless when repeated, so one that was interrupted is simply done again.
"""

import dataclasses

from blockchain.consortium.key_exchange import leave_card
from blockchain.identity import Identity
from fedward.folders.hospital import HospitalFolder, Membership, roster_digest
from fedward.folders.key_board import KeyBoard
from fedward.types import Address

NOBODY = roster_digest(())  # the roster that a hospital has agreed to before it agrees to one


def apply_to_join(folder: HospitalFolder, board: KeyBoard, agreed: Membership) -> Address:
    """As a hospital with a folder of its own: make keys, write down what was agreed on, and leave the card.

    Until it agrees to a roster (`agree_to_roster`) it deals, takes and trains for none.

    Args:
        folder: Its own; `HospitalFolder.create` made it.
        board: Where cards lie.
        agreed: What it joins, as agreed outside of any message; the roster digest in it does not matter.

    Returns:
        The address that the registrar is to register.

    Raises:
        UsageError: its keys are damaged.
        ResourceError: its folder or the board cannot be written.
    """
    known = folder.identity.exists()
    identity = Identity.load(folder.identity) if known else Identity.create(folder.identity)
    folder.join(dataclasses.replace(agreed, roster_digest=NOBODY))
    leave_card(folder, board)
    return identity.address
