"""Entry point of `python -m keras_arch.cli`."""

import sys

from keras_arch.cli import main

if __name__ == "__main__":
    if not sys.flags.safe_path:
        # As for `keras-arch`: no module of the working directory is imported for a config.
        del sys.path[0]
    sys.exit(main())
