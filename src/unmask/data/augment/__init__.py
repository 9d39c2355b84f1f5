"""Random changes of training crops, one file per family."""
