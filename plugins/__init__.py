"""Doors for people and programs: every frontend is a peer of the kernel."""
