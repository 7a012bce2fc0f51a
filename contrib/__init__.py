"""Converters of single archives, for the jobs in jobs/ that use their data: ``python -m contrib``.

They are not part of the installed package, which is about tuning.
"""
