"""Stage 10, vote: what a hospital says about a candidate, and on what evidence."""
