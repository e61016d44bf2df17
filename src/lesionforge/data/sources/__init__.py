"""Readers of formats: one file each."""
