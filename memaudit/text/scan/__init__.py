"""One pass over a corpus in search of the texts of a benchmark."""
