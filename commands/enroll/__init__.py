"""`main.py enroll`: a hospital's kit on a host of its own: keys, images, and the request to be admitted."""
