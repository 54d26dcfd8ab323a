"""`t5x convert`: backbones and prompts from one format to another."""
