"""Square patches that networks reach by doubling a few pixels, 4×4 where the side is a power of two, or halve so."""

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


def check_doubled(method: GenerativeMethod, shape: tuple[int, ...]) -> None:
    """Raise LesionForgeError unless patches are square and 4 to 7 pixels double to their side, once or more."""
    side = shape[0]
    if (
        len(shape) != 2
        or shape != (side, side)
        or side < 2 * SEED_PIXELS
        or side != seed_pixels(shape) << doublings(shape)
    ):
        raise LesionForgeError(
            f"{registry.name_of(method)} makes square 2-D patches of 8, 16, 32, 64, … pixels, or to whose side 5, 6 or "
            f"7 double (…, 40, 48, 56, 80, …), but {'×'.join(map(str, shape))} came: crop or resize the patches "
            "(`lesionforge ingest --size 64`)."
        )


def doublings(shape: tuple[int, ...]) -> int:
    """How often the first pixels double to reach the patch."""
    return max((shape[0] // SEED_PIXELS).bit_length() - 1, 0)


def seed_pixels(shape: tuple[int, ...]) -> int:
    """Along a side, where doubling starts: 4 to 7."""
    return shape[0] >> doublings(shape)
