"""Arrays in, numbers out: scores, intervals and comparisons. No model is imported here."""
