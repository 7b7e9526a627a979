"""Words of a text as a reader sees them, and their normal form."""
