"""Regimes that protocols share: parts of an experiment, each an answer to one question, to be joined with ``+``."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from lesionforge.experiments.ingredients import Choice, Line, Regime

CHOSEN_CLASSIC, CHOSEN_SYNTHETIC = "classic, chosen", "synthetic, chosen"
RAW, ONLY_SYNTHETIC = "raw", "synthetic only"
SHARE = "share of the training patients"


@dataclass(frozen=True)
class Part:
    """Regimes, and what is made of them; fields as `Experiment` has them."""

    regimes: tuple[Regime, ...]
    choices: tuple[Choice, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()
    lines: tuple[Line, ...] = ()
    shown: tuple[str, ...] = ()

    def __add__(self, other: "Part") -> "Part":
        return Part(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(Part)))

    @property
    def settings(self) -> dict[str, Any]:
        """Fields of the experiment that consists of this part."""
        return {field.name: getattr(self, field.name) for field in fields(Part)}


def over_portions(portions: Sequence[float], generator: str, *, classic: int = 0, synthetic_per_class: int) -> Part:
    """Learning curves: growing shares of the training patients, with and without samples of generators trained on them.

    Wang et al. 2022, Fig. 6. The curve without is also what further patients would bring. Classic patches are as many
    for each lesion at every share; samples are as many at every share.
    """
    without = [
        Regime(_share(portion), classic=round(classic * portion), portion=portion) for portion in sorted(portions)
    ]
    with_samples = [
        Regime(f"{real.name}+{generator}", real.classic, synthetic_per_class, portion=real.portion) for real in without
    ]
    names = [tuple(regime.name for regime in regimes) for regimes in (without, with_samples)]
    amounts = tuple(100 * portion for portion in sorted(portions))
    return Part(
        regimes=tuple(regime for both in zip(without, with_samples, strict=True) for regime in both),
        pairs=tuple(zip(names[1], names[0], strict=True)),
        lines=tuple(
            Line(name, f"{SHARE}, %", of, amounts)
            for name, of in zip(("real", f"with {generator}"), names, strict=True)
        ),
        shown=(names[0][-1], names[1][-1]),
    )


def over_classic(amounts: Sequence[int]) -> Part:
    """Raw, then growing amounts of classic patches, and which of them validation patients choose (Frid-Adar 2018)."""
    regimes = (Regime(RAW), *(Regime(f"classic {amount}", classic=amount) for amount in sorted(amounts)))
    names = tuple(regime.name for regime in regimes)
    return Part(
        regimes=regimes,
        choices=(Choice(CHOSEN_CLASSIC, names),),
        pairs=((CHOSEN_CLASSIC, RAW),),
        lines=(Line("classic", "classic patches a fold", names, (0, *sorted(amounts))),),
        shown=(RAW, CHOSEN_CLASSIC),
    )


def over_synthetic(amounts: Sequence[int]) -> Part:
    """Growing amounts of samples of each class on top of the chosen amount of classic patches; after `over_classic`."""
    regimes = tuple(
        Regime(f"classic+synthetic {amount}", synthetic_per_class=amount, classic_of=CHOSEN_CLASSIC)
        for amount in sorted(amounts)
    )
    names = tuple(regime.name for regime in regimes)
    return Part(
        regimes=regimes,
        choices=(Choice(CHOSEN_SYNTHETIC, names),),
        pairs=((CHOSEN_SYNTHETIC, CHOSEN_CLASSIC),),
        lines=(
            Line("classic, and synthetic", "samples of each class", (CHOSEN_CLASSIC, *names), (0, *sorted(amounts))),
        ),
        shown=(CHOSEN_SYNTHETIC,),
    )


def over_patients(portions: Sequence[float]) -> Part:
    """Fewer patients, the same amount of classic patches: what further patients bring; after `over_classic`."""
    regimes = tuple(
        Regime(f"classic, {_share(portion)}", portion=portion, classic_of=CHOSEN_CLASSIC)
        for portion in sorted(portions)
    )
    names = (*(regime.name for regime in regimes), CHOSEN_CLASSIC)
    amounts = (*(100 * portion for portion in sorted(portions)), 100.0)
    return Part(regimes, lines=(Line("classic", f"{SHARE}, %", names, amounts),))


def only_synthetic(per_class: int) -> Part:
    """Train on samples, test on real patients, beside training on the real ones; after `over_classic`."""
    regime = Regime(ONLY_SYNTHETIC, synthetic_per_class=per_class, real=False)
    return Part((regime,), pairs=((ONLY_SYNTHETIC, RAW),), shown=(ONLY_SYNTHETIC,))


def _share(portion: float) -> str:
    return f"{100 * portion:.3g} % of patients"
