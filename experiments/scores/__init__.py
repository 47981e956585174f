"""Scores computed on the host."""
