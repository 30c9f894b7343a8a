"""`main.py compare`: what differs between finished runs, in settings and in figures."""
