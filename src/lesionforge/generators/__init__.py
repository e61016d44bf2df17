"""Generative methods, and the one loop that trains them."""
