"""Files as other programs write them: opened with care, checked, and brought to what flows."""
