"""The audit: verifies a ledger and its ciphertexts offline and without any key, in numbered steps with evidence."""
