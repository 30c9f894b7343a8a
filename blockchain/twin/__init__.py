"""The contract's rules a second time, in Python: the oracle of its tests, and the judge of the audit."""
