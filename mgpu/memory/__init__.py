"""The arithmetic of memory: a model, a format and a layout in, bytes on a GPU out. Sources stand at the formulas."""
