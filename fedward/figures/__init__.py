"""Stage 11, evaluate: how good a model is, in numbers, tables and pictures."""
