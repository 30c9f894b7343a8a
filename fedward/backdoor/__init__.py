"""Stage 9, detect: detectors with which a hospital looks for backdoors and damage in a candidate before it votes."""
