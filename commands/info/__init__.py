"""`main.py info`: the effective settings, and what they do and do not protect."""
