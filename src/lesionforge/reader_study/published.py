"""What readers reached in the papers, to stand beside one's own: shares as printed, from 0 to 1."""

import pandas as pd

_WANG_2020 = "Wang et al. 2020, Table 2"
_WANG_2022 = "Wang et al. 2022"
_FRID_ADAR_2018 = "Frid-Adar et al. 2018, Table 4"
_ROWS = [
    (_WANG_2020, "senior radiologist", "100 + 100", "true_positive_ratio", 0.84),
    (_WANG_2020, "senior radiologist", "100 + 100", "false_positive_ratio", 0.54),
    (_WANG_2020, "senior radiologist", "100 + 100", "accuracy", 0.65),
    (_WANG_2020, "primary radiologist", "100 + 100", "true_positive_ratio", 0.78),
    (_WANG_2020, "primary radiologist", "100 + 100", "false_positive_ratio", 0.66),
    (_WANG_2020, "primary radiologist", "100 + 100", "accuracy", 0.56),
    (_WANG_2022, "four clinicians, pooled", "50 + 50", "auc", 0.68),
    (_WANG_2022, "four clinicians, pooled", "50 + 50", "accuracy", 0.74),
    (_WANG_2022, "four clinicians, pooled", "50 + 50", "false_positive_ratio", 0.37),
    (_WANG_2022, "logistic regression on radiomics", "50 + 50", "auc", 0.66),
    (_WANG_2022, "logistic regression on radiomics", "50 + 50", "accuracy", 0.62),
    (_FRID_ADAR_2018, "expert 1", "182 + 120", "accuracy", 0.625),
    (_FRID_ADAR_2018, "expert 2", "182 + 120", "accuracy", 0.586),
    (_FRID_ADAR_2018, "expert 1", "182 + 120", "class_accuracy", 0.778),
    (_FRID_ADAR_2018, "expert 2", "182 + 120", "class_accuracy", 0.692),
]


def published() -> pd.DataFrame:
    """Columns paper, reader, lesions (real + synthetic), metric, estimate."""
    return pd.DataFrame(_ROWS, columns=["paper", "reader", "lesions", "metric", "estimate"])
