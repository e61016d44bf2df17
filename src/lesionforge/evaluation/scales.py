"""What readers may say of a lesion, from fake to real: kept apart, so that asking needs no statistics."""

SCALE = ("confidently fake", "leaning fake", "leaning real", "confidently real")  # Wang et al. 2022
WORDS = ("fake", "real")
