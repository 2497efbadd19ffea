"""What reading an .npz file raises where the file is missing, of another kind, or damaged: numpy documents only a part of it."""

from __future__ import annotations

import zipfile
import zlib

# An empty file is an EOFError, one that was cut a BadZipFile, one with a flipped bit a zlib.error, one without a name a KeyError.
DAMAGED_NPZ = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)
