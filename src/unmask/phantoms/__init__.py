"""Synthetic images with exact truth, in any number of axes."""
