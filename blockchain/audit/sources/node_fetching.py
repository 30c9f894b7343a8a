"""Fetches single blocks with their receipts from a node, encoded anew so that their hashes can be checked."""

from typing import Any

from eth_utils.crypto import keccak

from blockchain.audit.sources.evidence import RawBlock
from blockchain.audit.sources.node_blocks import block_of, header_of, quantity, receipts_of, transaction_hashes
from blockchain.audit.sources.node_rpc import NodeRpc
from fedward.errors import EvidenceError


class NodeFetcher:
    """Asks one node for blocks; keeps none.

    Args:
        rpc: The node.

    Every method raises `EvidenceError` where the node cannot be reached or does not have what is needed, and
    `VerificationError` where it contradicts itself or gives no usable answers.
    """

    def __init__(self, rpc: NodeRpc) -> None:
        self._rpc = rpc
        self._whole_receipts = True  # whether the node offers all receipts of a block at once

    def height(self) -> int:
        """Number of the last block."""
        return quantity(self._rpc.ask("eth_blockNumber"), "The chain's height")

    def answer(self, number: int) -> object:
        """The node's answer for a block, with its transactions."""
        answer = self._rpc.ask("eth_getBlockByNumber", hex(number), True)
        if answer is None:
            raise EvidenceError(
                f"The node at {self._rpc.url} does not have block {number}.", "Use a node that keeps the whole chain."
            )
        return answer

    def block_hash(self, number: int) -> bytes | None:
        """A block's hash (32 bytes); None where the node's chain is shorter."""
        answer = self._rpc.ask("eth_getBlockByNumber", hex(number), True)
        return None if answer is None else bytes(keccak(header_of(answer, number)))

    def block(self, number: int) -> RawBlock:
        """A block; its receipts are None where the node does not have them."""
        answer = self.answer(number)
        return RawBlock(number, block_of(answer, number), self._receipts(answer, number))

    def _receipts(self, block: object, number: int) -> tuple[bytes, ...] | None:
        """All receipts of a block; None where the node does not have them, as for transactions of its own making."""
        hashes = transaction_hashes(block, number)
        answers: Any = None
        if self._whole_receipts:
            self._whole_receipts, answers = self._rpc.ask_if_offered("eth_getBlockReceipts", hex(number))
        if not self._whole_receipts:
            answers = [self._rpc.ask("eth_getTransactionReceipt", each) for each in hashes]
        return (
            None if answers is None or (isinstance(answers, list) and None in answers) else receipts_of(answers, number)
        )
