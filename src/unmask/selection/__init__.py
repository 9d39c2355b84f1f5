"""Which images to label first: typical and different ones, found without a model."""
