"""Which images or regions to label first, or next: typical, different, and hard for a model."""
