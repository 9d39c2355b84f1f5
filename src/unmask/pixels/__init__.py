"""Pixel classifiers: a small head on frozen features, fitted to few labeled pixels in seconds."""
