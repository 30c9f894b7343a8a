"""Stages 4, 7 and 8 without a key: how numbers share a ciphertext, its bytes, and their sums."""
