"""`main.py evaluate`: scores a trained model on a folder of images."""
