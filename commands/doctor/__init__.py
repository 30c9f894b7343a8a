"""`main.py doctor`: whether a kit's host is fit for the study, and what to do where it is not."""
