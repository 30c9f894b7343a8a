"""The report of a finished run: one self-contained page with its figures, its model card and its ledger entries."""
