"""A model behind HTTP: uploads that may be hostile, what they may cost, and the service."""
