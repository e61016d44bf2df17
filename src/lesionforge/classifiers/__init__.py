"""Classifiers: networks and the one loop that fits them; features of patches, and the decisions on them."""
