"""A run's folder as argument and its tasks on stdin, the run's exit code out: the program that a run is kept by."""

import os
import sys

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    from mgpu.run.keeping import main

    sys.exit(main(sys.argv[1]))
