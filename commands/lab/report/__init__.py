"""The command `lab report`: what was measured of a run, on one page, signed if asked."""
