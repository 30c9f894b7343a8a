"""The subcommands of `main.py`: `NAME.py`, or `NAME/command.py` beside the modules that do the work.

A command's module holds its options and their help. The libraries that the work needs take seconds to import, so the
command's function imports the work only when it runs: `--help` and a wrong option are answered at once.
"""
