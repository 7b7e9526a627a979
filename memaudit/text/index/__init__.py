"""An index of a corpus: suffix arrays over its symbols, and what they answer."""
