"""`main.py provision`: the server's kit of a study on separate hosts, from the project's file."""
