"""unmask in napari: forms over ``unmask.api``, whose results become layers."""
