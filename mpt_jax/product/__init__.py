"""What a run leaves: prompts with their description in a file; the formats of others."""
