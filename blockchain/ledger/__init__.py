"""The contract's client: its interface, values and events, and transactions that are resent until a block has them."""
