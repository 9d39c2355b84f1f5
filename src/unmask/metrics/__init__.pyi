from .by_name import (
    INSTANCE,
    METRICS,
    SEMANTIC,
    default_metrics,
    evaluate_pair,
    evaluate_pairs,
)
from .cellseg import cellseg_f1, cellseg_matching
from .folds import join_folds, read_report
from .instance import Matching, ap, dq, f1, matching, pq, sq
from .jaccard import aji, aji_cellpose, aji_pea, aji_plus
from .leaves import abs_dic, best_dice, dic, fgbg_dice, sbd, sbd_max
from .metric import Metric, find_metric
from .overlap_table import Overlap, overlap
from .partition import Rand, arand, cremi, rand, voi, voi_merge, voi_split
from .report import Picture, Report, summarize
from .semantic import accuracy, auc, balanced_accuracy, dice, iou
from .surface import Surfaces, hd95, nsd

__all__ = [
    "INSTANCE",
    "METRICS",
    "SEMANTIC",
    "Matching",
    "Metric",
    "Overlap",
    "Picture",
    "Rand",
    "Report",
    "Surfaces",
    "abs_dic",
    "accuracy",
    "aji",
    "aji_cellpose",
    "aji_pea",
    "aji_plus",
    "ap",
    "arand",
    "auc",
    "balanced_accuracy",
    "best_dice",
    "cellseg_f1",
    "cellseg_matching",
    "cremi",
    "default_metrics",
    "dic",
    "dice",
    "dq",
    "evaluate_pair",
    "evaluate_pairs",
    "f1",
    "fgbg_dice",
    "find_metric",
    "hd95",
    "iou",
    "join_folds",
    "matching",
    "nsd",
    "overlap",
    "pq",
    "rand",
    "read_report",
    "sbd",
    "sbd_max",
    "sq",
    "summarize",
    "voi",
    "voi_merge",
    "voi_split",
]
