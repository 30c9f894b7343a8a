"""Stage 3, privatize: clipping and noise, where they come from, and what they cost."""
