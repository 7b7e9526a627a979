"""What a probe asks, one file a group of checks: each returns controls for the report, or refuses by the reason."""
