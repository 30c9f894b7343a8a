"""`main.py predict`: what a trained model says of images, one line an image."""
