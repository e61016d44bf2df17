"""Outlining lesions from a point."""
