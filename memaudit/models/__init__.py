"""Language models behind one interface; with ``training``, the only floor that imports torch."""
