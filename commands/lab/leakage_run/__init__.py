"""`main.py lab leakage --run`: audits a finished run for what each party of it could rebuild of the images."""
