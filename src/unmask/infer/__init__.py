"""Prediction on images of any size: windows, blended scores, several models, labels."""
