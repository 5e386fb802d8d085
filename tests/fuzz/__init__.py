"""Bytes of any kind for every parser: `make fuzz`, and what it found."""
