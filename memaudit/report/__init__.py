"""What a run says, for each reader: a page, a terminal, a machine. Reads finished runs only."""
