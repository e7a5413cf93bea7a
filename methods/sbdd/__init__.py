"""Blur synthesis; see README.md."""
