"""Measures side by side, in one run; nothing here is asserted. The sites are those of the system tests' harness."""
