"""Backdoors in candidate models: what a hospital looks for before it votes."""
