"""Regimes that protocols share: parts of an experiment, each an answer to one question, to be joined with ``+``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from lesionforge.experiments.ingredients import Choice, Line, Published, Regime

CHOSEN_CLASSIC, CHOSEN_SYNTHETIC, RECOMMENDED = "classic, chosen", "synthetic, chosen", "recommended"
RAW, CLASSIC, ONLY_SYNTHETIC = "raw", "classic", "synthetic only"
SHARE = "share of the training patients"
PER_CLASS = "samples of each class"


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

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the regimes."""
        return tuple(regime.name for regime in self.regimes)


def under(classifier: str, regime: str) -> str:
    """Name a regime under a classifier; one that is not named is the experiment's first."""
    return f"{classifier}: {regime}" if classifier else regime


def ladder(
    generators: Sequence[str], *, classic: int, amounts: Sequence[int], classifier: str = "", shown: bool = True
) -> Part:
    """Raw patches, then classic ones added, then on top of these samples of each generator (Wang 2020, Frid-Adar 2018).

    ``amounts`` are samples of each class. Of several, each fold's validation patients choose.
    """
    raw, augmented = under(classifier, RAW), under(classifier, CLASSIC)
    part = Part(
        (Regime(raw, classifier=classifier), Regime(augmented, classic=classic, classifier=classifier)),
        pairs=((augmented, raw),),
        shown=(raw, augmented) if shown else (),
    )
    for generator in generators:
        part += _rungs(generator, augmented, classic=classic, amounts=amounts, classifier=classifier, shown=shown)
    return part


def _rungs(generator: str, below: str, *, classic: int, amounts: Sequence[int], classifier: str, shown: bool) -> Part:
    """Samples of one generator on top of classic patches, and the choice among several amounts."""
    name = under(classifier, f"{CLASSIC}+{generator}")
    several = len(amounts) > 1
    regimes = tuple(
        Regime(
            f"{name} {amount}" if several else name,
            classic,
            synthetic_per_class=amount,
            generator=generator,
            classifier=classifier,
        )
        for amount in sorted(amounts)
    )
    names = tuple(regime.name for regime in regimes)
    top = f"{name}, chosen" if several else name
    return Part(
        regimes,
        choices=(Choice(top, names),) if several else (),
        pairs=((top, below),),
        lines=(Line(name, PER_CLASS, (below, *names), (0, *sorted(amounts))),) if several else (),
        shown=(top,) if shown else (),
    )


def one_of(part: Part) -> Part:
    """Whatever its fold's validation patients choose of all these regimes, the simplest first: what to expect of it."""
    simplest_first = sorted(part.regimes, key=lambda regime: (regime.synthetic_per_class, regime.classic))
    return Part(
        (), choices=(Choice(RECOMMENDED, tuple(regime.name for regime in simplest_first)),), shown=(RECOMMENDED,)
    )


def over_portions(
    portions: Sequence[float],
    generator: str,
    *,
    classic: int = 0,
    synthetic_per_class: int,
    classes: tuple[str, ...] = (),
) -> Part:
    """Learning curves: growing shares of the training patients, with and without samples of generators trained on them.

    Wang et al. 2022, Fig. 6. The curve without is also what further patients would bring. Classic patches are as many
    for each lesion at every share; samples, of ``classes`` alone where these are said, are as many at every share.
    """
    without = [
        Regime(_share(portion), classic=round(classic * portion), portion=portion) for portion in sorted(portions)
    ]
    with_samples = [
        Regime(
            f"{real.name}+{generator}",
            real.classic,
            synthetic_per_class,
            portion=real.portion,
            generator=generator,
            synthetic_classes=classes,
        )
        for real in without
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
    regimes = (Regime(RAW), *(Regime(f"{CLASSIC} {amount}", classic=amount) for amount in sorted(amounts)))
    names = tuple(regime.name for regime in regimes)
    return Part(
        regimes=regimes,
        choices=(Choice(CHOSEN_CLASSIC, names),),
        pairs=((CHOSEN_CLASSIC, RAW),),
        lines=(Line(CLASSIC, "classic patches a fold", names, (0, *sorted(amounts))),),
        shown=(RAW, CHOSEN_CLASSIC),
    )


def over_synthetic(amounts: Sequence[int], generator: str = "") -> Part:
    """Growing amounts of samples of each class on top of the chosen amount of classic patches; after `over_classic`."""
    regimes = tuple(
        Regime(
            f"classic+synthetic {amount}", synthetic_per_class=amount, classic_of=CHOSEN_CLASSIC, generator=generator
        )
        for amount in sorted(amounts)
    )
    names = tuple(regime.name for regime in regimes)
    return Part(
        regimes=regimes,
        choices=(Choice(CHOSEN_SYNTHETIC, names),),
        pairs=((CHOSEN_SYNTHETIC, CHOSEN_CLASSIC),),
        lines=(Line("classic, and synthetic", PER_CLASS, (CHOSEN_CLASSIC, *names), (0, *sorted(amounts))),),
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
    return Part(regimes, lines=(Line(CLASSIC, f"{SHARE}, %", names, amounts),))


def only_synthetic(per_class: int) -> Part:
    """Train on samples, test on real patients, beside training on the real ones; after `over_classic`."""
    regime = Regime(ONLY_SYNTHETIC, synthetic_per_class=per_class, real=False)
    return Part((regime,), pairs=((ONLY_SYNTHETIC, RAW),), shown=(ONLY_SYNTHETIC,))


def each_under(classifiers: Sequence[str], regime: Regime) -> tuple[Regime, ...]:
    """Return a regime under each of several classifiers, called by their names."""
    return tuple(
        Regime(
            **{
                **{field.name: getattr(regime, field.name) for field in fields(Regime)},
                "name": name,
                "classifier": name,
            }
        )
        for name in classifiers
    )


def published(
    table: str, metrics: Sequence[str], rows: Mapping[tuple[str, str], Sequence[float]]
) -> tuple[Published, ...]:
    """Return a printed table: a row for each (paper's name, our regime), a figure for each of ``metrics`` as shares."""
    return tuple(
        Published(table, row, regime, metric, value)
        for (row, regime), values in rows.items()
        for metric, value in zip(metrics, values, strict=True)
    )


def _share(portion: float) -> str:
    return f"{100 * portion:.3g} % of patients"
