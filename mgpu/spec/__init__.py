"""Text in, Spec out: `document` reads YAML with positions, `check` turns it into the frozen Spec."""
