"""`main.py agree`: a hospital agrees to who takes part, and takes what it needs for the next round."""
