"""Facts as data, each with its source and version, and thin readers."""
