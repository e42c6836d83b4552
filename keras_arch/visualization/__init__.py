"""Pictures of models, data and results as PNG files.

Of a generator: classes of its samples (`mode_coverage`, `classifier_agreement`), the
latent space (`latent_walk`, `vector_arithmetic`), memorization (`nearest_neighbors`), and paired
tasks (`side_by_side`). Of a classifier: each class (`per_class_report`), confident mistakes
(`confident_mistakes`), and Grad-CAM (`grad_cam`). Of a segmentation: masks over images
(`overlay`, `error_map`, `zoom_on_errors`). Of any model: `draw_diagram`.
Titles and legends of sheets of images: `annotate`.
"""

from keras_arch.visualization.annotations import annotate
from keras_arch.visualization.augmentation import augmentation_gallery
from keras_arch.visualization.classification import (
    Mistake,
    confident_mistakes,
    draw_mistakes,
    per_class_report,
)
from keras_arch.visualization.diagrams import draw as draw_diagram
from keras_arch.visualization.figures import (
    bar_chart,
    confusion_matrix,
    grid,
    history,
    new_figure,
    save_figure,
    save_png,
    shorten_label,
    side_by_side,
    trade_off,
)
from keras_arch.visualization.generators import (
    ClassifierAgreement,
    ModeCoverage,
    Neighbors,
    classifier_agreement,
    mode_coverage,
    nearest_neighbors,
)
from keras_arch.visualization.grad_cam import draw_explanation, grad_cam, overlay_heatmap
from keras_arch.visualization.latents import (
    LatentPicture,
    interpolate,
    latent_walk,
    vector_arithmetic,
)
from keras_arch.visualization.overlays import (
    BORDER_COLORS,
    ERROR_COLORS,
    Colors,
    class_colors,
    colorize_mask,
    displayable,
    error_map,
    find_boundaries,
    overlay,
    overlay_legend,
    zoom_on_errors,
)

__all__ = [
    "BORDER_COLORS",
    "ERROR_COLORS",
    "ClassifierAgreement",
    "Colors",
    "LatentPicture",
    "Mistake",
    "ModeCoverage",
    "Neighbors",
    "annotate",
    "augmentation_gallery",
    "bar_chart",
    "class_colors",
    "classifier_agreement",
    "colorize_mask",
    "confident_mistakes",
    "confusion_matrix",
    "displayable",
    "draw_diagram",
    "draw_explanation",
    "draw_mistakes",
    "error_map",
    "find_boundaries",
    "grad_cam",
    "grid",
    "history",
    "interpolate",
    "latent_walk",
    "mode_coverage",
    "nearest_neighbors",
    "new_figure",
    "overlay",
    "overlay_heatmap",
    "overlay_legend",
    "per_class_report",
    "save_figure",
    "save_png",
    "shorten_label",
    "side_by_side",
    "trade_off",
    "vector_arithmetic",
    "zoom_on_errors",
]
