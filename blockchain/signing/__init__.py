"""Signatures: what the parties sign (EIP-712), and how the signer is recovered."""
