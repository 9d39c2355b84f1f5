"""Parts for unmask, registered by the entry points of this distribution."""
