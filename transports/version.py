"""The version of mlxd, for all its processes; the package's metadata takes it from here.

Reading it from the installed metadata instead would cost each process 30 ms of imports at its start.
"""

VERSION = "0.1.0"
