"""The words for each fact: those that the decoder learns, and others that only tests use.

A phrase is text with slots: {g} and {h} are grounds, {s} is one or more sensors with articles, {l} a list of what they
bring. "is/are" agrees with the number of {s}. Phrases of one kind can stand for one another in any sentence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Wordings(NamedTuple):
    """Phrases by fact, and frames: orders of the parts of a sentence."""

    phrases: Mapping[str, tuple[str, ...]]
    frames: tuple[str, ...]


SENSOR_NOUNS = {"camera": "camera", "imu": "IMU", "audio": "microphone", "lidar": "LiDAR"}  # with "the"
EVIDENCE = {"camera": "camera", "imu": "IMU", "audio": "sound", "lidar": "LiDAR"}  # what a sentence rests on

LEARNED = Wordings(
    {
        "travel": ("driving", "the robot drives", "moving", "the robot is moving"),
        "ground": ("on {g}", "over {g}"),
        "change": ("from {g} onto {h}", "off {g} and onto {h}"),
        "ahead": ("with {g} ahead", "towards {g}"),
        "speed slow": ("slowly", "at low speed"),
        "speed medium": ("at medium speed", "at a moderate pace"),
        "speed fast": ("fast", "at high speed"),
        "turn left": ("in a left turn", "while turning left"),
        "turn right": ("in a right turn", "while turning right"),
        "darkness": ("in the dark", "in poor light"),
        "fog": ("in fog", "in foggy air"),
        "mud": ("with mud on the lens", "with a muddy lens"),
        "dust": ("in dust", "in dusty air"),
        "wind": ("in strong wind", "in the wind"),
        "vibration": ("with strong vibration", "with a shaking mount"),
        "silent": ("{s} is/are silent", "nothing comes from {s}"),
        "frozen": ("{s} is/are frozen", "{s} is/are stuck"),
        "invalid": ("{s} sends/send bad data", "the data of {s} is bad"),
        "late": ("{s} is/are late", "{s} lags/lag"),
        "missing": ("{s} is/are missing", "there is no sign of {s}"),
        "off": ("{s} is/are switched off", "{s} is/are off"),
        "recovering": ("{s} is/are recovering", "{s} is/are coming back"),
        "resting": ("{s} rests/rest to save power", "{s} is/are resting"),
        "rests": ("so this rests on {l}", "which leaves {l}"),
    },
    (
        "{travel} {speed} {place} {turn} {conditions} {ahead} ; {sensors} , {rests}",
        "{travel} {place} {speed} {turn} {ahead} {conditions} ; {sensors} , {rests}",
        "{conditions} , {travel} {speed} {place} {ahead} {turn} ; {sensors} , {rests}",
    ),
)
HELD_OUT = Wordings(
    {
        "travel": ("the robot goes", "the robot is driving", "travelling"),
        "ground": ("across {g}", "along {g}", "on a stretch of {g}"),
        "change": ("leaving {g} for {h}", "out of {g} and onto {h}"),
        "ahead": ("and {g} lies ahead", "with {g} coming up"),
        "speed slow": ("at a slow pace", "at a crawl"),
        "speed medium": ("at an ordinary pace", "at a medium pace"),
        "speed fast": ("at a fast pace", "quickly"),
        "turn left": ("while bending to the left", "and turning left"),
        "turn right": ("while bending to the right", "and turning right"),
        "darkness": ("in darkness", "with little light"),
        "fog": ("in mist", "in thick fog"),
        "mud": ("with mud on the camera lens", "with a dirty lens"),
        "dust": ("in a cloud of dust", "in air full of dust"),
        "wind": ("in gusty wind", "with wind in the microphone"),
        "vibration": ("with a rattling mount", "under heavy vibration"),
        "silent": ("{s} says/say nothing", "{s} has/have gone silent"),
        "frozen": ("{s} repeats/repeat itself", "{s} has/have frozen"),
        "invalid": ("{s} sends/send nonsense", "{s} has/have bad data"),
        "late": ("the data of {s} comes late", "{s} is/are behind"),
        "missing": ("{s} never came", "nothing was ever heard of {s}"),
        "off": ("somebody switched off {s}", "{s} has/have been switched off"),
        "recovering": ("{s} is/are about to come back", "{s} has/have yet to recover"),
        "resting": ("{s} sleeps/sleep to save power", "power is saved on {s}"),
        "rests": ("so this is judged by {l}", "and this rests on {l}"),
    },
    (
        "{sensors} , {rests} : {travel} {speed} {place} {conditions} {turn} {ahead}",
        "{travel} {conditions} {place} {ahead} {turn} {speed} ; {sensors} , {rests}",
    ),
)
