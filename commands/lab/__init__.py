"""`lab`: attacks and defenses of the core, measured side by side."""
