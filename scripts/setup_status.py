"""What a long step of the setup is doing at the moment. Like bootstrap.py, it must run in every Python 3."""

import os
import re
import shutil
import sys
import time

STATUS_INTERVAL_S = 5  # between two status lines if the output is not a terminal


class StatusLine:
    """What a long step is doing at the moment, and for how long it has been running.

    A terminal shows one line that is rewritten in place. Elsewhere, for example in the log of a build server, a new line is
    printed every STATUS_INTERVAL_S.
    """

    def __init__(self, text, out=None):
        self.text, self.out = text, out or sys.stdout
        self.on_terminal = self.out.isatty()
        self.started = time.time()
        self.last_shown = self.started if not self.on_terminal else 0.0

    def show(self):
        """Write the line where it is due. Called about once a second."""
        now = time.time()
        line = "setup:   %s (%.0f s)" % (self.text, now - self.started)
        if self.on_terminal:
            self.out.write("\r%s\033[K" % line[: shutil.get_terminal_size().columns - 1])
            self.out.flush()
        elif now - self.last_shown >= STATUS_INTERVAL_S:
            self.last_shown = now
            self.out.write(line + "\n")
            self.out.flush()

    def close(self):
        """Remove the line from a terminal."""
        if self.on_terminal:
            self.out.write("\r\033[K")
            self.out.flush()


class PipProgress:
    """Translates the output of `pip install --progress-bar=raw` into status texts."""

    def __init__(self):
        self.package, self.size = "", ""

    def status_of(self, line):
        """The status text after this line of pip's output, or None where the status stays as it is."""
        found = re.match(r"\s*Collecting ([\w.-]+)", line)
        if found:
            return "looking for %s" % found.group(1)
        found = re.match(r"\s*Downloading (\S+?)-\d\S* \(([\d.]+ [kMG]?B)\)", line)
        if found:
            self.package, self.size = os.path.basename(found.group(1)), found.group(2)
            return "downloading %s (%s)" % (self.package, self.size)
        found = re.match(r"Progress (\d+) of (\d+)", line)
        if found and int(found.group(2)):
            percent = 100 * int(found.group(1)) // int(found.group(2))
            return "downloading %s (%d %% of %s)" % (self.package, percent, self.size)
        found = re.match(r"\s*Building wheel for ([\w.-]+)", line)
        if found:
            return "building %s" % found.group(1)
        found = re.match(r"Installing collected packages: (.*)", line)
        if found:
            return "unpacking %d packages" % len(found.group(1).split(","))
        return None


def ninja_status(line):
    """The status text after this line of the build's output, or None where the status stays as it is."""
    found = re.match(r"\[(\d+)/(\d+)\]", line)
    return "compiling, step %s of %s" % found.groups() if found else None
