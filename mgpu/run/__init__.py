"""Changes the host: carries out Commands, and decides nothing."""
