"""Entry point of `python -m keras_arch.cli`."""

import sys

from keras_arch.cli import main

if __name__ == "__main__":
    sys.exit(main())
