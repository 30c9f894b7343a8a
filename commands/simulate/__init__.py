"""`main.py simulate`: a federation of hospitals on this machine, from image files to a model and its evidence."""
