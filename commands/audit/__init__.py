"""`main.py audit`: verify a run, a bundle or a running node, without any key."""
