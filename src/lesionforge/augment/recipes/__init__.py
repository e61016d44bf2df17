"""One paper, one file; the folder is the registry."""
