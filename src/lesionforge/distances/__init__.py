"""How far sets of images lie from each other: arrays in, numbers out.

Nothing here knows patients, files or networks. Training watches its samples with these numbers, and evaluation
reports them.
"""
