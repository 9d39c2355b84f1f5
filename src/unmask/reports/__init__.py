"""Reports to look at: pages with pictures, tables and charts, each in one file."""
