"""Simulated examinations with known truth, one file each, from the shapes in ``shapes``.

Every phantom has two functions: ``draw(n, generator, ...)`` draws the parameters of n cases, ``render(parameters)``
turns them into a ``Cases`` deterministically. ``make(n, generator, ...)`` does both. They teach how methods work; they
are not clinical evidence.
"""
