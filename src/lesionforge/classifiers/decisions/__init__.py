"""One way from features to probabilities, one file; the folder is the registry."""
