"""How a segmenter learns from images without labels while it learns from those with labels."""

from unmask.parts import Parts

UNLABELED = Parts(
    "unmask.unlabeled",
    {
        "consistency": "unmask.semisupervised.consistency:Consistency",
        "pseudo_labels": "unmask.semisupervised.pseudo_labels:PseudoLabels",
        "reconstruction": "unmask.semisupervised.reconstruction:Reconstruction",
    },
)
