"""JSON routes, one file per kind of thing; each makes a router for a site."""
