"""Experiments behind the measured claims, one file each.

A study is a module with ``CLAIM``, the id of its claim (or ``NAME``, where it serves none), and ``run(seed, device)``,
which trains what it has to and returns named numbers. ``companion study CLAIM`` runs it over several seeds and stores
the numbers in ``data/studies/<claim>.json``; the notebook runs one seed live and shows the stored ones with their
interval.
"""
