"""The contract, as programs use it: its interface, its values and events, and transactions that arrive."""
