"""Digests as groups of digits, which two people can read to each other over the telephone."""

import hashlib

GROUPS, DIGITS = 6, 5  # together 30 digits, of which nobody finds a second text: about 100 bits


def spoken(content: bytes) -> str:
    """Groups of digits that stand for some bytes, as in "20431 88512 00719 46320 91284 57733".

    Args:
        content: What both have to have; any bytes, hashed with SHA-256.

    Guarantees:
        1. Different bytes give different digits but for a chance of 1 in 10^30; whoever can choose both texts finds two
           with the same digits in about 10^15 trials, who can choose only one of them in 10^30.
    """
    number = int.from_bytes(hashlib.sha256(content).digest(), "big")
    digits = f"{number % 10 ** (GROUPS * DIGITS):0{GROUPS * DIGITS}d}"
    return " ".join(digits[start : start + DIGITS] for start in range(0, len(digits), DIGITS))
