"""Answers of a model on whole splits, scored."""
