"""`main.py info`: the effective settings, what can be chosen, and what they do and do not protect."""
