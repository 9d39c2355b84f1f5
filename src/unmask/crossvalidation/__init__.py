"""Scores of images that a model has not seen, if there are too few to keep some aside."""
