"""`main.py budget`."""
