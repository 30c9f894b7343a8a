"""`main.py view`: runs as pages in a browser on this machine; reads only."""
