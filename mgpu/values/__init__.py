"""The frozen values that travel through the house: standard library only, imported module by module."""
