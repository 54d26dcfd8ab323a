"""`t5x serve`: prompts as a service, over HTTP."""
