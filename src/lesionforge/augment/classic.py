"""Classic augmentation by the name of a paper's recipe."""

from collections.abc import Sequence

from lesionforge import registry, settings
from lesionforge.augment import recipes
from lesionforge.augment.recipe import Recipe
from lesionforge.data.patches import Patches


def augment(
    patches: Patches, recipe: str, *, seed: int, count: int | None = None, overrides: Sequence[str] = ()
) -> Patches:
    """Augment by the recipe of that name: ``count`` rows (None: all that the recipe makes of each lesion).

    ``overrides`` are ``key=value`` settings of the recipe. See `Recipe.augment`.

    Raises
    ------
    LesionForgeError
        There is no such recipe or setting, or as for `Recipe.augment`.
    """
    kind: type[Recipe] = registry.class_named(recipes, recipe, Recipe)  # type: ignore[type-abstract]
    return settings.with_overrides(kind(), overrides).augment(patches, seed=seed, count=count)
