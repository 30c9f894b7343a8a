"""`main.py protect`: cloaks images for another hospital, and seals to it what restores them."""
