"""Plan in, Commands out; and a Command in, text for a target out: a shell, or JSON."""
