"""Square patches whose side is a power of two, which networks reach by doubling 4×4 pixels, or halve down to them."""

from lesionforge import registry
from lesionforge.errors import LesionForgeError
from lesionforge.generators.contract import GenerativeMethod

SEED_PIXELS = 4  # where generators start: 4×4 pixels


def check_square(method: GenerativeMethod, shape: tuple[int, ...]) -> None:
    """Raise LesionForgeError unless patches are square, 8 pixels or more, a power of two."""
    side = shape[0]
    if len(shape) != 2 or shape != (side, side) or side < 2 * SEED_PIXELS or side & (side - 1):
        raise LesionForgeError(
            f"{registry.name_of(method)} makes square 2-D patches of 8, 16, 32, 64, … pixels, but "
            f"{'×'.join(map(str, shape))} came: crop or resize the patches (`lesionforge ingest --size 64`)."
        )


def doublings(shape: tuple[int, ...]) -> int:
    """How often 4 pixels double to reach the patch."""
    return (shape[0] // SEED_PIXELS).bit_length() - 1
