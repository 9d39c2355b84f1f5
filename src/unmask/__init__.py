"""Images to masks with as few labels as possible, in 2D and 3D."""
