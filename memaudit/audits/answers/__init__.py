"""Answers that somebody else produced, audited: prompts, true texts and outputs in files, no model of ours."""
