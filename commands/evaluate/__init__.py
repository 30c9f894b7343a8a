"""`main.py evaluate`: how good a trained model is on a folder of images."""
