"""`main.py keys`: which encryption keys a run has had, and who has taken them. Never a key itself."""
