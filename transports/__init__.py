"""What is said between mlxd's processes and how it travels. Imports nothing else of ours."""
