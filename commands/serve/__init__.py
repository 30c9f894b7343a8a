"""`main.py serve`: runs the processes of a server or a hospital."""
