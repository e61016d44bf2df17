"""The study over HTTP: pages for readers and for the owner, and what stands between them and the rest of the world."""
