"""One module a subcommand of `main.py`."""
