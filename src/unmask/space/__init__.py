"""Geometry for any number of axes: boxes, tiles, axis names, voxel sizes, addressed chance."""

from unmask.space.box import Box, Tile, tiles

__all__ = ["Box", "Tile", "tiles"]
