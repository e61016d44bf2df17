"""One page on memorisation that a data steward can file, in Markdown: what was tested, what came out, what was not."""

from collections.abc import Mapping
from typing import Any

VERDICTS = {
    True: "COPIES FOUND. Do not release this set before the samples named below are removed and it is tested again.",
    False: "No copies found beyond what chance brings. This is not a proof of anonymity.",
}


def statement(asked: Mapping[str, Any], results: Mapping[str, Any], provenance: Mapping[str, Any]) -> str:
    """Write the statement from what an assessment of memorisation left."""
    numbers = results["numbers"]
    sentences = "\n".join(f"- {sentence}" for sentence in results["sentences"])
    warnings = "\n".join(f"- {warning}" for warning in provenance["warnings"]) or "- none"
    size = " × ".join(map(str, asked["shape"]))
    return f"""# Statement on memorisation in a synthetic set

**{VERDICTS[numbers["flagged"]]}**

| | |
|---|---|
| Synthetic set | {asked["synthetic_patches"]} patches of {size} pixels, digest `{asked["synthetic_digest"]}` |
| Made by | {", ".join(asked["generators"])} |
| Training patients at hand | {asked["training_patients_among_them"]} |
| Patients held out | {asked["held_out_patients"]} |
| Real set | {asked["real_patches"]} patches, digest `{asked["real_digest"]}` |
| Test of the set | p = {numbers["p_value"]:.2g}, corrected for all tests made; 0.05 is the limit |
| Samples that come nearer than any real patient | {numbers["copies"]} (`tables/samples.csv`, column `copy`) |
| Finished | {provenance["finished"]}, LesionForge {provenance["software"]["lesionforge"]} |

## What was found

{sentences}

## What was done

Every sample was held against every training image that was at hand, in flips, turns and small shifts, and in features
of texture; and against images of patients whom training had not seen. How much nearer it comes to training was
compared with how much nearer fresh patients come. If samples were drawn as patients are, a set is flagged in at most
5 % of cases.

## What this does not say

Parts of an image, a copy changed in other ways than those tried, and patients who were not at hand are not covered.
That nobody can be recognised was not tested: patients are not named here, and their images stay where they are. A
generator trained without differential privacy gives no guarantee.

## Warnings

{warnings}

Command: `{provenance["command"]}`

| Signed | Date |
|---|---|
| | |
"""
