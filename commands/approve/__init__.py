"""`main.py approve`: what changes with a hospital's code, and its word that it may run."""
