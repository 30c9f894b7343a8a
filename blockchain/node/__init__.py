"""The embedded Ethereum node: a chain of blocks in one SQLite file, served over JSON-RPC."""
