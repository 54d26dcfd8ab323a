"""Answers to a user's own lines."""
