"""Scans, lesions and patches: everything before a network is involved."""
