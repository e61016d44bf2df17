"""Transforms that sample their parameters in one method and apply them in another."""
