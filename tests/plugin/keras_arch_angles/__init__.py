"""Example of a package that extends keras_arch: regression of angles, and a relativistic GAN.

`keras_arch_angles-0.1.dist-info/entry_points.txt` beside it names its parts, as the installation of
a package does; its pyproject.toml would have the same lines.
"""
