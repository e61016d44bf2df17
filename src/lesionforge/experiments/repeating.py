"""A run repeated from its ``config.json``: the same experiment, on data that must be the same."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lesionforge import registry
from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError
from lesionforge.experiments import protocols
from lesionforge.experiments.described import from_json
from lesionforge.experiments.experiment import Experiment
from lesionforge.experiments.protocol import protocol_named
from lesionforge.experiments.scale import SCALES
from lesionforge.storage import read_json


@dataclass(frozen=True)
class Described:
    """What a run's configuration says: an experiment, and the digest of its data."""

    experiment: Experiment
    data_digest: str

    @classmethod
    def read(cls, path: Path) -> "Described":
        """Read a run's ``config.json``.

        Raises
        ------
        LesionForgeError
            It is no configuration of a run, or one that took given synthetic patches, which are not described in it.
        """
        values = read_json(path, of="a run")
        if "data_digest" not in values:
            raise LesionForgeError(f"{path} must be the config.json of a run, but it names no data_digest.")
        if "given_digest" in values:
            raise LesionForgeError(
                f"{path} is of a run that was given synthetic patches: repeat it with `lesionforge classify … --with`."
            )
        digest = values.pop("data_digest")
        return cls(from_json(values), digest)

    def patches(self, given: Patches | None, labels: Mapping[str, Sequence[str]]) -> Patches:
        """Return the run's patches: those given, with the same labels standing for its classes, or else its phantom.

        Raises
        ------
        LesionForgeError
            They are other patches than the run's; or none came, and the run was on no phantom of its protocol's.
        """
        name = self.experiment.protocol
        candidates: Iterable[Patches]
        if given is None:
            known = name in registry.names(protocols)
            candidates = (protocol_named(name).stand_in(scale) for scale in SCALES.values() if known)
        else:
            candidates = [protocol_named(name).labelled(given, labels) if labels else given]
        for patches in candidates:
            if patches.digest == self.data_digest:
                return patches
        came = (
            "those that came have another"
            if given is not None
            else "none came, and its protocol's phantoms have others"
        )
        raise LesionForgeError(
            f"the run was on patches with the digest {self.data_digest}, but {came}: give the "
            "same with --data, and the same --label."
        )
