"""The ledger: an embedded Ethereum node, the contract's client, signatures and their verification."""
