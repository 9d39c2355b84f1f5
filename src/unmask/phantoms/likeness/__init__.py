"""Phantoms that resemble given images: compare, fit, draw, match the look, paste real objects."""
