"""Spending work on a camera's stream only where it changed: change detection, policies, and the router of the branches."""
