"""Pictures of models, of data and of results, written as PNG files.

Of a generator: which classes a classifier sees (`mode_coverage`, `classifier_agreement`), the
latent space (`latent_walk`, `vector_arithmetic`), memorising (`nearest_neighbours`), and paired
tasks (`side_by_side`). Of a classifier: each class (`per_class_report`), confident mistakes
(`confident_mistakes`), and Grad-CAM (`grad_cam`). Of a segmentation: masks over images
(`overlay`, `error_map`, `close_up`). Of an augmentation pipeline:
`augmentation_gallery`. Of any model: `draw_diagram`.
"""

from keras_arch.visualization.augmentation import augmentation_gallery
from keras_arch.visualization.classification import (
    Mistake,
    confident_mistakes,
    draw_mistakes,
    per_class_report,
)
from keras_arch.visualization.diagrams import draw as draw_diagram
from keras_arch.visualization.figures import (
    bars,
    blank,
    confusion_matrix,
    grid,
    history,
    save_figure,
    save_png,
    shortened,
    table,
)
from keras_arch.visualization.grad_cam import draw_explanation, grad_cam, overlay_heatmap
from keras_arch.visualization.latents import (
    LatentPicture,
    interpolate,
    latent_walk,
    vector_arithmetic,
)
from keras_arch.visualization.modes import (
    ClassifierAgreement,
    ModeCoverage,
    classifier_agreement,
    mode_coverage,
)
from keras_arch.visualization.neighbors import Neighbours, nearest_neighbours, side_by_side
from keras_arch.visualization.overlays import (
    Colors,
    borders,
    class_colors,
    close_up,
    error_map,
    overlay,
    painted,
)

__all__ = [
    "ClassifierAgreement",
    "Colors",
    "LatentPicture",
    "Mistake",
    "ModeCoverage",
    "Neighbours",
    "augmentation_gallery",
    "bars",
    "blank",
    "borders",
    "class_colors",
    "classifier_agreement",
    "close_up",
    "confident_mistakes",
    "confusion_matrix",
    "draw_diagram",
    "draw_explanation",
    "draw_mistakes",
    "error_map",
    "grad_cam",
    "grid",
    "history",
    "interpolate",
    "latent_walk",
    "mode_coverage",
    "nearest_neighbours",
    "overlay",
    "overlay_heatmap",
    "painted",
    "per_class_report",
    "save_figure",
    "save_png",
    "shortened",
    "side_by_side",
    "table",
    "vector_arithmetic",
]
