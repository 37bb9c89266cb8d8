"""The version of Ingot: the one place where it stands, also for the package that is built.

Asking the installed package instead would cost every command 35 ms before it does anything.
"""

VERSION = "0.1.0"
