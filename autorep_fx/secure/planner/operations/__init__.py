"""How each operation of a plan is planned: one a file, which bears its name.

It has its record, ``PLANNED`` (../planned.py), and ``SOURCES``: the steps of a program that become nodes of it
(../source.py).
"""
