"""Recordings of your own to labelled windows: which label holds when, the cutting, and the folder they are kept in."""
