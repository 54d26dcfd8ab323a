"""Other people's formats of T5, in and out."""
