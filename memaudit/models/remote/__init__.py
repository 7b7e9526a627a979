"""Models behind an address: how they are reached, what they can be asked, and whether they answer what was asked."""
