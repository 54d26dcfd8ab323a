"""T5X's names, for gin files: what `from t5x import utils` gives there, our engine gives here."""
