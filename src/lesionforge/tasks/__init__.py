"""Tasks that need one another, done here or on a cluster, each result kept once. Nothing in it knows of lesions."""
