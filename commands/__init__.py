"""The subcommands of `main.py`: `NAME.py`, or `NAME/command.py` beside the modules that do the work.

A command's module holds its options and their help, and imports at its top what takes no time. The libraries that the
work needs take seconds; the command's function imports that work when it runs, so that `--help` and a wrong option are
answered at once.
"""
