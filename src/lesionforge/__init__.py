"""LesionForge: synthesise CT lesions and say, with honest statistics, whether they helped."""

__version__ = "0.1.0"
