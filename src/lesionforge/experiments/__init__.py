"""Experiments: what a protocol describes and the engine that runs it."""
