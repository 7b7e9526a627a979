"""Detectors of membership: one file each, found by name or by entry point."""
