"""A synthetic set held against real patients: one file for each question, patches in, a run's folder out."""
