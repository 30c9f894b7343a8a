"""Shamir's secret sharing among hospitals, over a prime: a threshold of them restores a secret, or a sum of several."""
