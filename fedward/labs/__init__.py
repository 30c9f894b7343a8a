"""Labs: attacks and defenses measured side by side, always with the null attack and no defense."""
