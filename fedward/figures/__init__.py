"""Stage 10, evaluate: how good a model is, in numbers, tables and pictures."""
