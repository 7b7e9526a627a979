"""Passages and canaries at known numbers of copies."""
