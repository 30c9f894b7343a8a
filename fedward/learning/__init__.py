"""Stage 2, train: the classifiers, their training, and the file that a trained one is kept in."""
