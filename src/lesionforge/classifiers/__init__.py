"""Classifiers, and the one loop that fits the networks among them."""
