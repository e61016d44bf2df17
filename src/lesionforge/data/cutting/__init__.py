"""Ways to cut patches out of scans: one file each."""
