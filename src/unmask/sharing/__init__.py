"""Models for others: a folder with model, card, examples and citation, or the same on a hub."""
