"""Other people's formats: backbones and prompts, in and out."""
