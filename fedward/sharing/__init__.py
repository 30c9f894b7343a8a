"""A secret split among hospitals so that a threshold of them restores it, or a sum of several: Shamir over a prime."""
