"""The ledger and what parties do with it: node, contract client, signatures, keys, verification, witness, audit."""
