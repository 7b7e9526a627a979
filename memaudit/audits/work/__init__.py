"""How much of a whole work can be had back, where, and at what cost: ``memaudit work``."""
