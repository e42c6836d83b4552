"""Augmentations whose draws follow from (seed, epoch, step)."""
