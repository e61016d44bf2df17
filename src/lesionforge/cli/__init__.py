"""The command line: one file for each kind of verb."""

from lesionforge.cli.app import app, main

__all__ = ["app", "main"]
