"""Which kinds of config can be trained."""

from typing import Any

from keras_arch import config
from keras_arch.preprocessing import Preprocessing
from keras_arch.tasks.base import Job
from keras_arch.tasks.classification import Classification
from keras_arch.tasks.finetuning import Finetuning
from keras_arch.tasks.generation import Generation
from keras_arch.tasks.segmentation import Segmentation
from keras_arch.tasks.translation import Translation

JOBS: dict[str, Any] = {
    "image-classification": Classification,
    "fine-tuning": Finetuning,
    "image-segmentation": Segmentation,
    "unconditional-image-generation": Generation,
    "conditional-image-generation": Generation,
    "laplacian-pyramid-generation": Generation,
    "paired-image-translation": Translation,
    "unpaired-image-translation": Translation,
}


def job_for(checked: config.Config, preprocessing: Preprocessing) -> Job:
    """The job of a config's task."""
    return JOBS[checked.task](checked, preprocessing)
