import re
import xml.etree.ElementTree as ET
from itertools import pairwise

from lesionforge.report.flow import flow_chart

CONFIG = {
    "folds": 3,
    "folds_run": 1,
    "repeats": 2,
    "patients_per_class": 30,
    "regimes": [{"classic": 5, "synthetic_per_class": 4}],
    "classifiers": [{"name": "small_cnn"}],
    "generators": [{"name": "dcgan"}],
}
FOLDS = [
    {
        "repeat": 0,
        "fold": fold,
        "train_patients": 40 + fold,
        "train_lesions": 60,
        "test_patients": 20,
        "test_lesions": 30,
    }
    for fold in range(2)
]
PROVENANCE = {"data": {"classes": [{"label": "a<b", "lesions": 7}, {"label": "c", "lesions": 8}]}, "folds": FOLDS}


def texts(chart):
    return [element.text for element in ET.fromstring(chart).iter() if element.tag.endswith("text")]


def test_every_step_has_its_counts():
    found = " ".join(texts(flow_chart(CONFIG, PROVENANCE)))
    for words in (
        "15 lesions: 7 a<b, 8 c", "30 patients of each class", "1 of 3 folds by patient, 2 repeats",
        "40–41 patients, 60 lesions", "20 patients, 30 lesions", "dcgan: trained on these alone",
        "1 regime, 1 classifier",
    ):  # fmt: skip
        assert words in found
    assert "validation" not in found


def test_without_samples_or_classic_patches_there_is_no_box_for_them():
    plain = CONFIG | {"regimes": [{"classic": 0, "synthetic_per_class": 0}], "patients_per_class": 0}
    found = " ".join(texts(flow_chart(plain, PROVENANCE)))
    assert "generators" not in found
    assert "classic patches" not in found
    assert "drawn for each repeat" not in found


def test_nothing_leads_from_the_test_patients_but_to_the_scores():
    chart = flow_chart(CONFIG, PROVENANCE)
    tops = dict(zip(re.findall(r'class="title">(.*?)<', chart), boxes_of(chart), strict=True))
    ways = [tuple(map(float, way)) for way in re.findall(r'<path d="M([\d.]+) ([\d.]+) V([\d.]+)"', chart)]
    test, scored = tops["test"], tops["scored"]
    down = [way for way in ways if test["x"] <= way[0] <= test["x"] + test["width"] and way[1] >= test["y"]]
    assert [(way[1], way[2]) for way in down] == [(test["y"] + test["height"], scored["y"])]


def boxes_of(chart):
    return [
        {name: float(box.get(name)) for name in ("x", "y", "width", "height")}
        for box in ET.fromstring(chart).iter()
        if box.tag.endswith("rect")
    ]


def test_boxes_stay_inside_and_do_not_overlap():
    chart = flow_chart(CONFIG, PROVENANCE)
    width, height = map(float, re.search(r'viewBox="0 0 (\d+) (\d+)"', chart).groups())
    boxes = boxes_of(chart)
    assert len(boxes) == 9
    for box in boxes:
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert box["y"] + box["height"] <= height
    for row in {box["y"] for box in boxes}:
        beside = sorted((box["x"], box["x"] + box["width"]) for box in boxes if box["y"] == row)
        assert all(end < start for (_, end), (start, _) in pairwise(beside))


def test_long_words_are_cut_to_two_lines():
    many = PROVENANCE | {
        "data": {"classes": [{"label": f"a class of a long name {n}", "lesions": 1} for n in range(20)]}
    }
    assert any(text.endswith("…") for text in texts(flow_chart(CONFIG, many)))
