"""`python -m keras_arch` is the program `keras-arch`."""

import sys

from keras_arch.cli import main

if __name__ == "__main__":
    sys.exit(main())
