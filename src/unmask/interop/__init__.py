"""Weights of published programs: what they hold, and how they become networks of ours."""
