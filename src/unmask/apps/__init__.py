"""Programs on top of the verbs; nothing below imports them."""
