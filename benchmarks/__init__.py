"""Measures the bars that the project promises, from outside: a platform in a process of its own, asked over HTTP.

An island of scripts: the standard library and uvloop only, imports no room and is imported by none. Each bar is one
module that answers `Figure`s; processes that make load or measure under load are modules of their own
(`probe`, `sender`, `hammer`), so that their work is not in the figures. Linux only: memory is read from /proc.
"""
