"""Session engines of one's own."""
