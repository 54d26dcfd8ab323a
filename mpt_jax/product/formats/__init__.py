"""Other people's formats of prompts, in and out."""
