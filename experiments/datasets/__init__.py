"""Readers and builders: files or generators to in-memory arrays."""
