"""Stage 11, vote: a hospital's verdict on a candidate model, and the evidence that the verdict rests on."""
