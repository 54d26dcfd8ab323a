"""Gin files and flags: found, read, checked, and named in messages."""
