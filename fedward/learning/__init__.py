"""Stage 2, train: the classifiers, their training, server optimizers, and the file of a trained model."""
