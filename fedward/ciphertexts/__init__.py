"""Ciphertexts without keys: plans, packing, serialized bytes and sums; what stages 4, 7 and 8 rest on."""
