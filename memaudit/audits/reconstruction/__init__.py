"""How much of a work does a model write by itself? ``memaudit reconstruct``: writing, matching, report."""
