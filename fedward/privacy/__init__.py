"""Stage 3, privatize: clipping and noise, DP-SGD, secret randomness, and privacy accounting."""
