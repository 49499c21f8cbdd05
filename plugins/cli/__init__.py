"""The command line: `mlxd` and its commands, each a short-lived frontend of the kernel."""
