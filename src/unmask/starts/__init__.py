"""Weights that a training starts with: which ones fit, and whether they help."""
