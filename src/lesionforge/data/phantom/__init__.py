"""The phantom: CT computed from stated anatomy and physics, with lesions that are known.

It is the embedded default data set and the data of the tests. A patient is a body defined at every point in mm;
a scanner samples it on any grid, so a patch and a whole scan show the same lesion.
"""

from lesionforge.data.phantom.patches import phantom_patches
from lesionforge.data.phantom.scans import PhantomScan, phantom_scan

__all__ = ["PhantomScan", "phantom_patches", "phantom_scan"]
