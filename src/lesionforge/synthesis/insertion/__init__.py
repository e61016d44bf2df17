"""Lesions into whole scans: where they may grow, what paints them, how they go in, and what is written."""
