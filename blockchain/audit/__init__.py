"""Verify a ledger without any key: in numbered steps, each with its evidence, offline."""
