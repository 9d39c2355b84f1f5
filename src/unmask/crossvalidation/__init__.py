"""Cross-validation for few labeled images: each image is scored by a model that held it out."""
