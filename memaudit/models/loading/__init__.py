"""From what somebody names to a language model: folders, adapters, objects in memory, functions of Python."""
