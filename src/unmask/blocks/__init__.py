"""A grid of blocks of a large volume, each computed once, on any machine, resumably."""
