"""From a finished run's files to one self-contained page."""
