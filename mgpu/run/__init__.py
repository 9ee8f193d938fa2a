"""Commands in, processes out: what changes the host. Imported module by module; the keeper's half is standard library only."""
