"""Format of Ethereum's JSON-RPC: blocks, transactions, receipts and events as names and hexadecimal values."""

from collections.abc import Sequence
from typing import Any

import rlp
from eth._utils.address import generate_contract_address
from eth.abc import BlockAPI, BlockHeaderAPI, ReceiptAPI, SignedTransactionAPI
from eth_utils.address import to_checksum_address

from blockchain.node.machine import MinedTransaction
from blockchain.node.store import StoredLog

Fields = dict[str, Any]


def hex_int(number: int | None) -> str:
    """A number as 0x and as few digits as it needs; None, which py-evm gives for open values, as 0."""
    return hex(number or 0)


def hex_bytes(content: bytes | None) -> str:
    """Bytes as 0x and two digits each."""
    return "0x" + bytes(content or b"").hex()


def block_fields(block: BlockAPI, transactions: Sequence[str | Fields]) -> Fields:
    """A block, with its transactions whole or by hash."""
    header = block.header
    return {
        "number": hex_int(header.block_number),
        "hash": hex_bytes(header.hash),
        "parentHash": hex_bytes(header.parent_hash),
        "nonce": hex_bytes(header.nonce),
        "sha3Uncles": hex_bytes(header.uncles_hash),
        "logsBloom": hex_bytes(header.bloom.to_bytes(256, "big")),
        "transactionsRoot": hex_bytes(header.transaction_root),
        "stateRoot": hex_bytes(header.state_root),
        "receiptsRoot": hex_bytes(header.receipt_root),
        "miner": to_checksum_address(header.coinbase),
        "difficulty": hex_int(header.difficulty),
        "totalDifficulty": hex_int(0),
        "extraData": hex_bytes(header.extra_data),
        "mixHash": hex_bytes(header.mix_hash),
        "size": hex_int(len(rlp.encode(block))),
        "gasLimit": hex_int(header.gas_limit),
        "gasUsed": hex_int(header.gas_used),
        "timestamp": hex_int(header.timestamp),
        "baseFeePerGas": hex_int(header.base_fee_per_gas),
        "withdrawalsRoot": hex_bytes(header.withdrawals_root),
        "withdrawals": [],
        "blobGasUsed": hex_int(header.blob_gas_used),
        "excessBlobGas": hex_int(header.excess_blob_gas),
        "parentBeaconBlockRoot": hex_bytes(header.parent_beacon_block_root),
        "uncles": [],
        "transactions": list(transactions),
    }


def transaction_fields(found: MinedTransaction, chain_id: int) -> Fields:
    """A transaction in its block."""
    transaction, header = found.transaction, found.block.header
    fields: Fields = {
        "hash": hex_bytes(transaction.hash),
        "type": hex_int(transaction.type_id or 0),
        "chainId": hex_int(chain_id),
        "nonce": hex_int(transaction.nonce),
        "blockHash": hex_bytes(header.hash),
        "blockNumber": hex_int(header.block_number),
        "transactionIndex": hex_int(found.index),
        "from": to_checksum_address(found.sender),
        "to": to_checksum_address(transaction.to) if transaction.to else None,
        "value": hex_int(transaction.value),
        "gas": hex_int(transaction.gas),
        "gasPrice": hex_int(_price(transaction, header)),
        "input": hex_bytes(transaction.data),
        "r": hex_int(transaction.r),
        "s": hex_int(transaction.s),
    }
    if transaction.type_id is None:
        return fields | {"v": hex_int(35 + 2 * chain_id + transaction.y_parity)}
    fields |= {
        "v": hex_int(transaction.y_parity),
        "yParity": hex_int(transaction.y_parity),
        "accessList": _access(transaction),
    }
    if transaction.type_id >= 2:
        fields |= {
            "maxFeePerGas": hex_int(transaction.max_fee_per_gas),
            "maxPriorityFeePerGas": hex_int(transaction.max_priority_fee_per_gas),
        }
    return fields


def receipt_fields(found: MinedTransaction, receipts: Sequence[ReceiptAPI]) -> Fields:
    """A transaction's receipt.

    Args:
        found: The transaction in its block.
        receipts: Receipts of all the block's transactions.
    """
    transaction, header, receipt = found.transaction, found.block.header, receipts[found.index]
    before = receipts[found.index - 1].gas_used if found.index else 0
    position = sum(len(earlier.logs) for earlier in receipts[: found.index])
    logs = [
        StoredLog(
            header.block_number,
            position + offset,
            bytes(transaction.hash),
            found.index,
            bytes(log.address),
            tuple(topic.to_bytes(32, "big") for topic in log.topics),
            bytes(log.data),
        )
        for offset, log in enumerate(receipt.logs)
    ]
    created = None if transaction.to else generate_contract_address(found.sender, transaction.nonce)
    return {
        "transactionHash": hex_bytes(transaction.hash),
        "transactionIndex": hex_int(found.index),
        "blockHash": hex_bytes(header.hash),
        "blockNumber": hex_int(header.block_number),
        "from": to_checksum_address(found.sender),
        "to": to_checksum_address(transaction.to) if transaction.to else None,
        "cumulativeGasUsed": hex_int(receipt.gas_used),
        "gasUsed": hex_int(receipt.gas_used - before),
        "effectiveGasPrice": hex_int(_price(transaction, header)),
        "contractAddress": to_checksum_address(created) if created else None,
        "logs": [log_fields(log, bytes(header.hash)) for log in logs],
        "logsBloom": hex_bytes(receipt.bloom.to_bytes(256, "big")),
        "type": hex_int(transaction.type_id or 0),
        "status": hex_int(1 if receipt.state_root == b"\x01" else 0),
    }


def log_fields(log: StoredLog, block_hash: bytes) -> Fields:
    """An event in its block."""
    return {
        "address": to_checksum_address(log.address),
        "topics": [hex_bytes(topic) for topic in log.topics],
        "data": hex_bytes(log.data),
        "blockNumber": hex_int(log.block),
        "blockHash": hex_bytes(block_hash),
        "transactionHash": hex_bytes(log.transaction_hash),
        "transactionIndex": hex_int(log.transaction_index),
        "logIndex": hex_int(log.position),
        "removed": False,
    }


def _price(transaction: SignedTransactionAPI, header: BlockHeaderAPI) -> int:
    """What the sender paid for a unit of gas, in wei."""
    offered = transaction.max_priority_fee_per_gas + (header.base_fee_per_gas or 0)
    return int(min(transaction.max_fee_per_gas, offered))


def _access(transaction: SignedTransactionAPI) -> list[Fields]:
    """The access list's entries."""
    return [
        {"address": to_checksum_address(address), "storageKeys": [hex_bytes(key.to_bytes(32, "big")) for key in keys]}
        for address, keys in transaction.access_list
    ]
