"""Figures of the book. The only part of the package that draws."""
