"""Which volume is the mask of which: told by the names of files and folders."""

import re
from pathlib import Path

from lesionforge.data.formats.file_tree import files_below
from lesionforge.data.formats.volume_file import suffix_of
from lesionforge.data.source import Skip

IMAGE_WORDS = "image|images|img|imgs|ct|scan|scans|volume|volumes|imagestr|imagests"
MASK_WORDS = "mask|masks|label|labels|seg|segs|segmentation|segmentations|labelstr|labelsts|lesions"
IMAGE_ROLE, MASK_ROLE = (re.compile(rf"(?i)(?:(.*)[-_. ])?(?:{words})") for words in (IMAGE_WORDS, MASK_WORDS))

Key = tuple[Path, str]  # the folder that an image and its mask share, and the name that they share
Pairs = dict[str, tuple[Path, Path | None]]


def find_pairs(path: Path) -> tuple[Pairs, list[Skip]]:
    """Image and mask of each scan, by the scan's name: its path without the words for image and without the ending.

    A path that is one file is an image, whose mask may lie beside it.
    """
    if path.is_file():
        files = [file for file in sorted(path.parent.iterdir()) if suffix_of(file)] if suffix_of(path) else []
        pairs, _ = _paired(files, path.parent, images=[path])
        return pairs, []
    files = [file for file in files_below(path) if suffix_of(file)]
    return _paired(files, path, images=[file for file in files if not _role(file, path)[1]])


def _paired(files: list[Path], root: Path, *, images: list[Path]) -> tuple[Pairs, list[Skip]]:
    masks: dict[Key, Path] = {}
    for file in files:
        (folder, stem), is_mask = _role(file, root)
        if is_mask and file not in images:
            masks.setdefault((folder, stem), file)
            if bare := MASK_ROLE.fullmatch(stem):
                masks.setdefault((folder, bare[1] or ""), file)
    pairs: Pairs = {}
    skipped = []
    for image in images:
        key = _key(image, root, masks)
        name = "/".join((*key[0].relative_to(root).parts, *filter(None, [key[1]]))) or image.name
        if name in pairs:
            skipped.append(Skip(str(image), "two images of one name"))
        else:
            pairs[name] = (image, masks.get(key))
    lonely = dict.fromkeys(masks.values()).keys() - {mask for _, mask in pairs.values()}
    return pairs, skipped + [Skip(str(mask), "mask without image") for mask in sorted(lonely)]


def _key(image: Path, root: Path, masks: dict[Key, Path]) -> Key:
    """What the image shares with its mask; a word for image at the end of its name need not be part of it."""
    (folder, stem), _ = _role(image, root)
    bare = IMAGE_ROLE.fullmatch(stem)
    shorter = (bare[1] or "") if bare else stem
    return (folder, stem) if (folder, stem) in masks else (folder, shorter)


def _role(file: Path, root: Path) -> tuple[Key, bool]:
    """Return the folder and name that tell what belongs together, and whether the file is a mask."""
    stem = file.name[: -len(suffix_of(file))]
    if file.parent != root:
        for role, is_mask in ((IMAGE_ROLE, False), (MASK_ROLE, True)):
            if (match := role.fullmatch(file.parent.name)) and not match[1]:
                return (file.parent.parent, stem), is_mask
    return (file.parent, stem), MASK_ROLE.fullmatch(stem) is not None
