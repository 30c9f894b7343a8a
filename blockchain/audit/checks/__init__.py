"""The audit's checks: blocks, execution, events, rules, signatures, ciphertexts, sums, privacy and checkpoints."""
